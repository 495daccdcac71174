#include "core/checkpoint/safetensors_reader.h"

#include <ATen/ATen.h>
#include <sys/resource.h>

#include <csignal>

#include "check.h"
#include "checkpoint/shared_bytes.h"
#include "checkpoint/temporary_file.h"
#include "core/checkpoint/safetensors_writer.h"

using nd::test::checkpoint_fixture;
using nd::test::safetensors;
using nd::test::shared;
using nd::test::TemporaryFile;

namespace {

auto read(const std::string& bytes) { return nd::read_safetensors(shared(bytes), "x.safetensors"); }

/// One F32 tensor 'w' of this shape at these offsets, with so much data.
auto read_one(const std::string& shape, const std::string& offsets, size_t bytes) {
  return read(safetensors(R"({"w":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}",
                          std::string(bytes, '\0')));
}

TEST("reads every dtype as Python wrote it") {
  const auto state = nd::open_checkpoint(checkpoint_fixture("dtypes.safetensors"));
  EXPECT_EQUAL(state->entries().size(), size_t{10});
  const auto expected = at::arange(6).view({2, 3});
  for (const auto& [name, shape, dtype] : state->entries()) {
    const auto tensor = state->read(name);
    EXPECT(tensor.scalar_type() == dtype && tensor.is_contiguous());
    EXPECT(shape == std::vector<int64_t>({2, 3}));
    EXPECT(at::equal(tensor, expected.to(dtype)));
  }
  EXPECT(state->find("bfloat16")->dtype == at::kBFloat16);
  EXPECT(state->find("bool")->dtype == at::kBool);
  EXPECT(state->find("nothing") == nullptr);
  EXPECT_ERROR(checkpoint, "has no tensor 'nothing'", state->read("nothing"));
}

TEST("a tensor outlives its checkpoint, and is a view of the mapped file") {
  at::Tensor kept;
  const void* address = nullptr;
  {
    const auto state = nd::open_checkpoint(checkpoint_fixture("whole/diffusion_pytorch_model.safetensors"));
    EXPECT_EQUAL(state->entries().front().name, std::string("conv_in.bias"));
    kept = state->read("conv_in.weight");
    address = state->read("conv_in.weight").const_data_ptr();
  }
  EXPECT(kept.const_data_ptr() == address);
  EXPECT(at::equal(kept, (1 + at::arange(36) / 64.0).to(at::kFloat).view({4, 1, 3, 3})));
}

TEST("reads what the writer writes, and data that lie askew") {
  const TemporaryFile file("");
  const auto weight = at::arange(5).to(at::kDouble);
  nd::write_safetensors(file.path(), {{"\"odd\"\n", at::ones({3}, at::kByte)}, {"w", weight}, {"e", at::empty({0, 2})}});
  const auto state = nd::open_checkpoint(file.path());
  EXPECT(at::equal(state->read("w"), weight));  // 3 bytes behind the aligned start
  EXPECT(at::equal(state->read("\"odd\"\n"), at::ones({3}, at::kByte)));
  EXPECT(state->read("e").sizes() == at::IntArrayRef({0, 2}));
}

TEST("what is written begins where its tensors are aligned, and is dense whatever the strides") {
  const TemporaryFile file("");
  const auto columns = at::arange(6).view({2, 3}).t();
  for (const char* name : {"w", "ww", "www", "wwwwwwww"}) {
    nd::write_safetensors(file.path(), {{name, columns}});
    EXPECT_EQUAL(nd::test::read_file(file.path())[0] % 8, 0);  // the header's length
    EXPECT(at::equal(nd::open_checkpoint(file.path())->read(name), columns));
  }
}

TEST("a disk that is full leaves the file that was there") {
  const TemporaryFile file("before");
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit little{1 << 16, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &little);
  EXPECT_ERROR(argument, "can't be written", nd::write_safetensors(file.path(), {{"w", at::zeros({1 << 20})}}));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQUAL(nd::test::read_file(file.path()), std::string("before"));
}

TEST("a bool is any byte") {
  const auto state = read(safetensors(R"({"b":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})", {'\0', '\7', '\1'}));
  EXPECT(at::equal(state->read("b"), at::tensor({0, 1, 1}).to(at::kBool)));
}

TEST("every truncation, and every byte more, is refused") {
  const auto bytes = nd::test::read_file(checkpoint_fixture("dtypes.safetensors"));
  for (size_t size = 0; size < bytes.size(); ++size) EXPECT_ERROR(checkpoint, "x.safetensors", read(bytes.substr(0, size)));
  EXPECT_ERROR(checkpoint, "1 bytes behind its last tensor", read(bytes + '\0'));
  EXPECT_ERROR(checkpoint, "is truncated", read(bytes.substr(0, 100)));
}

TEST("a header is bounded") {
  auto bytes = safetensors("{}");
  bytes[4] = 1;  // 4 GiB
  EXPECT_ERROR(checkpoint, "no safetensors file", read(bytes));
  EXPECT_ERROR(checkpoint, "must have a dtype", read(safetensors(R"({"w":{"shape":[[0]]}})")));
  EXPECT_ERROR(checkpoint, "at most 4 levels", read(safetensors(R"({"w":{"shape":[[[0]]]}})")));
  EXPECT_ERROR(checkpoint, "at most 4 levels", read(safetensors("{\"w\":" + std::string(1 << 20, '['))));
  EXPECT_ERROR(checkpoint, "values", read(safetensors("{\"w\":[1" + [] {
    std::string zeros;
    for (int i = 0; i < 5'000'000; ++i) zeros += ",0";
    return zeros;
  }() + "]}")));
  EXPECT_ERROR(checkpoint, "twice", read(safetensors(R"({"w":{"dtype":"F32"},"w":{}})")));
  EXPECT_ERROR(checkpoint, "no valid JSON", read(safetensors("{nonsense}")));
  EXPECT_ERROR(checkpoint, "no valid JSON", read(safetensors("{\"\xff\":1}")));
  EXPECT_EQUAL(read(safetensors("{}   "))->entries().size(), size_t{0});
}

TEST("shapes and places that can't be are refused") {
  EXPECT_EQUAL(read_one("[2]", "[0,8]", 8)->entries().size(), size_t{1});
  EXPECT_EQUAL(read_one("[]", "[0,4]", 4)->read("w").dim(), int64_t{0});
  EXPECT_ERROR(checkpoint, "want 8", read_one("[2]", "[0,4]", 4));
  EXPECT_ERROR(checkpoint, "want 4", read_one("[1]", "[0,8]", 8));
  EXPECT_ERROR(checkpoint, "integers from 0 on", read_one("[-1]", "[0,4]", 4));
  EXPECT_ERROR(checkpoint, "integers from 0 on", read_one("[1.0]", "[0,4]", 4));
  EXPECT_ERROR(checkpoint, "integers from 0 on", read_one("[9223372036854775808]", "[0,4]", 4));
  EXPECT_ERROR(checkpoint, "integers from 0 on", read_one("{}", "[0,4]", 4));
  EXPECT_ERROR(checkpoint, "more bytes than can be counted", read_one("[4294967296,4294967296]", "[0,4]", 4));
  EXPECT_ERROR(checkpoint, "more bytes than can be counted", read_one("[0,4294967296,4294967296]", "[0,0]", 0));
  EXPECT_ERROR(checkpoint, "more than 64 dimensions", [] {
    std::string shape = "[1";
    for (int i = 0; i < 64; ++i) shape += ",1";
    read_one(shape + "]", "[0,4]", 4);
  }());
  EXPECT_ERROR(checkpoint, "within the file's 4 bytes", read_one("[1]", "[4,0]", 4));
  EXPECT_ERROR(checkpoint, "within the file's 4 bytes", read_one("[1]", "[0,8]", 4));
  EXPECT_ERROR(checkpoint, "within the file's 4 bytes", read_one("[1]", "[0]", 4));
  EXPECT_ERROR(checkpoint, "leaves a hole", read_one("[1]", "[4,8]", 8));
  const auto two = [](const std::string& a, const std::string& b) {
    const std::string entry = R"({"dtype":"F32","shape":[2],"data_offsets":)";
    return read(safetensors("{\"a\":" + entry + a + "},\"b\":" + entry + b + "}}", std::string(16, '\0')));
  };
  EXPECT_EQUAL(two("[8,16]", "[0,8]")->entries().size(), size_t{2});
  const auto beside = read(safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                       R"("b":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})", std::string(4, '\0')));
  EXPECT_EQUAL(beside->entries().size(), size_t{2});  // an empty one overlaps none
  EXPECT_ERROR(checkpoint, "overlaps", two("[0,8]", "[4,12]"));
  EXPECT_ERROR(checkpoint, "overlaps", two("[0,8]", "[0,8]"));
  EXPECT_ERROR(checkpoint, "must have a dtype", read(safetensors(R"({"w":{"shape":[],"data_offsets":[0,0]}})")));
  EXPECT_ERROR(checkpoint, "must have a dtype", read(safetensors(R"({"w":7})")));
  EXPECT_ERROR(checkpoint, "a name of 1025 bytes", read(safetensors("{\"" + std::string(1025, '.') + "\":{}}")));
  EXPECT_ERROR(checkpoint, "__metadata__", read(safetensors(R"({"__metadata__":{"a":1}})")));
}

TEST("a dtype that there is none for is refused by the tensor's name") {
  const auto message =
      EXPECT_ERROR(dtype, "tensor 'weight'", nd::open_checkpoint(checkpoint_fixture("float8.safetensors")));
  EXPECT(message.find("F8_E4M3") != std::string::npos);
}

}  // namespace
