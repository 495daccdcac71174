#include "core/checkpoint/torch_pickle.h"

#include <ATen/ATen.h>

#include <chrono>
#include <filesystem>
#include <random>

#include "check.h"
#include "checkpoint/shared_bytes.h"
#include "checkpoint/temporary_file.h"
#include "core/checkpoint/torchscript_tensors.h"
#include "memory_zip.h"

using nd::open_checkpoint;
using nd::PickleSource;
using nd::test::checkpoint_fixture;
using nd::test::read_file;
using nd::test::shared;
using namespace std::string_literals;

namespace {

auto pickle(const std::string& bytes, PickleSource source = PickleSource::torch_save) {
  // The values point into the bytes, which the caller's string is.
  return nd::read_pickle(bytes, source, "x.bin").values.size();
}

/// The tensors of an archive of this pickle, with constants.pkl where it is TorchScript's, and a storage of 16 bytes.
auto read_archive(const std::string& data, PickleSource source) {
  std::vector<std::pair<std::string, std::string>> records{{"a/data.pkl", data}, {"a/data/0", std::string(16, '\0')}};
  const bool script = source == PickleSource::torchscript;
  if (script) records.emplace_back("a/constants.pkl", "");
  const nd::TorchZip archive(shared(nd::fuzz::make_zip(records)), "x.bin");
  return script ? nd::read_torchscript_tensors(archive) : nd::read_torch_pickle(archive);
}

TEST("reads every dtype, nested under state_dict, and protocol 5") {
  for (const char* name : {"nested.bin", "protocol5.bin"}) {
    const auto state = open_checkpoint(checkpoint_fixture(name));
    EXPECT_EQUAL(state->entries().size(), size_t{10});
    for (const auto& [tensor, shape, dtype] : state->entries()) {
      EXPECT(at::equal(state->read(tensor), at::arange(6).view({2, 3}).to(dtype)));
    }
  }
}

TEST("windows of one storage become tensors of their own") {
  const auto state = open_checkpoint(checkpoint_fixture("views.bin"));
  const auto base = at::arange(24).to(at::kFloat);
  EXPECT(at::equal(state->read("base"), base));
  EXPECT(at::equal(state->read("offset"), base.slice(0, 8, 12)));
  EXPECT(at::equal(state->read("transposed"), base.slice(0, 0, 6).view({2, 3}).t()));
  EXPECT(state->read("transposed").is_contiguous());
  EXPECT(at::equal(state->read("strided"), base.slice(0, 1, 24, 3)));
  EXPECT(at::equal(state->read("parameter"), base.slice(0, 4, 6)));
  EXPECT_EQUAL(state->read("scalar").item<float>(), 7.f);
  EXPECT(state->read("empty").sizes() == at::IntArrayRef({0, 3}));
}

TEST("code in a checkpoint is refused by name and not run") {
  const auto message = EXPECT_ERROR(checkpoint, ".system", open_checkpoint(checkpoint_fixture("runs-code.bin")));
  EXPECT(message.find("posix.system") != std::string::npos);
  EXPECT(!std::filesystem::exists("/tmp/node-diffusers-was-here"));
  EXPECT_ERROR(checkpoint, "builtins.eval", pickle("\x80\2cbuiltins\neval\n."));
  EXPECT_ERROR(checkpoint, "os.system", pickle("\x80\4\x8c\2os\x8c\6system\x93."s));
  EXPECT_ERROR(checkpoint, "__torch__.M", pickle("\x80\2c__torch__\nM\n)\x81."));
  EXPECT_ERROR(checkpoint, "opcode 105", pickle("\x80\2ios\nsystem\n."));  // INST
  EXPECT_ERROR(checkpoint, "opcode 130", pickle("\x80\2\x82\1."));         // EXT1
  EXPECT_ERROR(checkpoint, "it calls torch.FloatStorage", pickle("\x80\2" "ctorch\nFloatStorage\n)R."));
  EXPECT_ERROR(checkpoint, "calls what is no function", pickle("\x80\2K\1)R."));
}

TEST("what is no dict of tensors by name is refused") {
  EXPECT_ERROR(checkpoint, "'epoch' must be a tensor", open_checkpoint(checkpoint_fixture("mixed.bin")));
  EXPECT_ERROR(checkpoint, "byte order 'big'", open_checkpoint(checkpoint_fixture("big-endian.bin")));
  EXPECT_ERROR(checkpoint, "torch.ComplexFloatStorage", open_checkpoint(checkpoint_fixture("complex.bin")));
}

TEST("an archive without records, without a dict or without a module is refused") {
  EXPECT_ERROR(checkpoint, "is an empty archive", nd::TorchZip(shared(nd::fuzz::make_zip({})), "x.bin"));
  EXPECT_ERROR(checkpoint, "must hold a dict of tensors", read_archive("\x80\2K\1.", PickleSource::torch_save));
  EXPECT_ERROR(checkpoint, "must hold a module", read_archive("\x80\2}.", PickleSource::torchscript));
  EXPECT_ERROR(checkpoint, "'state_dict' must be a tensor", read_archive("\x80\2}U\nstate_dictK\1s.", PickleSource::torch_save));
}

TEST("a tensor over bytes has the dtype that it states") {
  const auto state = read_archive("\x80\2}U\1wctorch._utils\n_rebuild_tensor_v3\n((U\7storagectorch.storage\nUntypedStorage\n"
                                  "U\0010U\3cpuK\x10tQK"s + '\0' + "(K\x8t(K\1t\x89}ctorch\nfloat16\ntRs.",
                                  PickleSource::torch_save);
  EXPECT_EQUAL(state->read("w").scalar_type(), at::kHalf);
  EXPECT_EQUAL(state->read("w").numel(), int64_t{8});
}

TEST("a pickle that breaks its machine's rules is refused") {
  EXPECT_ERROR(checkpoint, "ends early", pickle(""));
  EXPECT_ERROR(checkpoint, "ends early", pickle("\x80\2X\xff\xff\0\0"s));
  EXPECT_ERROR(checkpoint, "a text has 4294967295 bytes", pickle("\x80\2X\xff\xff\xff\xff"));
  EXPECT_ERROR(checkpoint, "protocol 6", pickle("\x80\6."));
  EXPECT_ERROR(checkpoint, "stack is empty", pickle("."));
  EXPECT_ERROR(checkpoint, "stack is empty", pickle("K\1(a."));
  EXPECT_ERROR(checkpoint, "stack is empty", pickle("](0t."));   // what lies under a mark is out of reach
  EXPECT_ERROR(checkpoint, "stack is empty", pickle("](Nat."));
  EXPECT_ERROR(checkpoint, "mark is missing", pickle("K\1t."));
  EXPECT_ERROR(checkpoint, "a key has no value", pickle("}(K\1u."));
  EXPECT_ERROR(checkpoint, "adds to what is no list", pickle("}K\1a."));
  EXPECT_ERROR(checkpoint, "recalls what it has not kept", pickle("h\7."));
  EXPECT_ERROR(checkpoint, "a name has no end", pickle("cposix"));
  EXPECT_ERROR(checkpoint, "more than 64 bits", pickle("\x8a\x09" + std::string(9, '\1') + "."));
  EXPECT_ERROR(checkpoint, "not to a storage", pickle("K\1Q."));
  EXPECT_ERROR(checkpoint, "sets attributes of what has none", pickle("K\1}b."));
  EXPECT_ERROR(checkpoint, "wrong arguments", pickle("ctorch._utils\n_rebuild_tensor_v2\n)R."));
  EXPECT(pickle("]q\0h\0a."s) == 1);  // a list in itself, which nobody walks
}

TEST("bombs end at a bound") {
  EXPECT_ERROR(checkpoint, "more than 2097152 values", pickle(std::string(3 << 20, ']')));
  EXPECT_ERROR(checkpoint, "too many marks", pickle(std::string(3 << 20, '(')));
  std::string recalls = "]q"s + '\0';
  for (int i = 0; i < 3 << 20; ++i) recalls += "h"s + '\0';
  EXPECT_ERROR(checkpoint, "stack is too deep", pickle(recalls));
  EXPECT_ERROR(checkpoint, "keeps more than 2097152 values", pickle("N"s.append(3 << 20, '\x94')));
  // Each Size copies a list of 65536.
  auto copies = "ctorch\nSize\nq"s + '\0' + "](" + std::string(65536, 'N') + "e\x85q\1";
  for (int i = 0; i < 1000; ++i) copies += "h"s + '\0' + "h\1R0";
  EXPECT_ERROR(checkpoint, "more than 8388608 entries", pickle(copies + "."));
  // Lists in one another, as deep as there are values: nothing walks or frees them by recursion.
  std::string deep = "]";
  for (int i = 0; i < 1 << 20; ++i) deep += "]q\1a" + "h\1"s;
  EXPECT_ERROR(checkpoint, "ends early", pickle(deep));
}

TEST("scripted modules give their tensors, without the name of what wraps them, and nothing is compiled") {
  const auto state = open_checkpoint(checkpoint_fixture("scripted.pt"));
  EXPECT_EQUAL(state->entries().size(), size_t{4});
  EXPECT_EQUAL(state->entries()[0].name, std::string("first.count"));
  EXPECT(at::equal(state->read("second.scale"), at::arange(4).to(at::kFloat)));
  EXPECT(at::equal(state->read("first.count"), at::tensor({3, 5}, at::kLong)));
  EXPECT_EQUAL(open_checkpoint(nd::test::fixture("lookup"))->entries().size(), size_t{2});
}

TEST("a frozen archive is refused by name") {
  EXPECT_ERROR(checkpoint, "is a frozen TorchScript archive", open_checkpoint(checkpoint_fixture("frozen.pt")));
}

/// A dict of one tensor 'w' over the 4 floats of storage 0; the arguments are numbers as pickled.
auto read_tensor(const std::string& offset, const std::string& sizes, const std::string& strides,
                 const std::string& entries = "K\4", const std::string& key = "U\0010") {
  return read_archive("\x80\2}U\1wctorch._utils\n_rebuild_tensor_v2\n((U\7storagectorch\nFloatStorage\n" + key + "U\3cpu" +
                          entries + "tQ" + offset + "(" + sizes + "t(" + strides + "t\x89}tRs.",
                      PickleSource::torch_save);
}

TEST("a tensor stays within its storage, and a storage within its record") {
  const std::string huge = "\x8a\x08" + std::string(7, '\xff') + "\x7f", minus = "J\xff\xff\xff\xff";
  EXPECT_EQUAL(read_tensor("K\1", "K\3", "K\1")->read("w").numel(), int64_t{3});
  EXPECT_ERROR(checkpoint, "reaches beyond its 16 bytes", read_tensor("K\2", "K\3", "K\1"));
  EXPECT_ERROR(checkpoint, "reaches beyond its 16 bytes", read_tensor("K\1", "K\2", "K\3"));
  EXPECT_ERROR(checkpoint, "reaches beyond its 16 bytes", read_tensor("K\5", "K\1", "K\1"));
  EXPECT_ERROR(checkpoint, "more entries than", read_tensor("K\1", "K\5", "K\1"));
  EXPECT_ERROR(checkpoint, "more entries than", read_tensor("K\1", "M\xff\xff", "K"s + '\0'));  // expanded
  EXPECT_ERROR(checkpoint, "impossible offset", read_tensor(minus, "K\1", "K\1"));
  EXPECT_ERROR(checkpoint, "impossible offset -2", read_tensor("\x8a\1\xfe", "K\1", "K\1"));
  EXPECT_ERROR(checkpoint, "impossible offset", read_tensor(huge, "K\1", "K\1"));
  EXPECT_ERROR(checkpoint, "negative size", read_tensor("K\1", minus, "K\1"));
  EXPECT_ERROR(checkpoint, "negative stride", read_tensor("K\1", "K\1", minus));
  EXPECT_ERROR(checkpoint, "more bytes than can be counted", read_tensor("K\1", huge + huge, "K\1K\1"));
  EXPECT_ERROR(checkpoint, "impossible strides", read_tensor("K\1", "K\2K\2", huge + huge));
  EXPECT_ERROR(checkpoint, "has 1 strides", read_tensor("K\1", "K\1K\1", "K\1"));
  EXPECT_ERROR(checkpoint, "in a record of 16 bytes", read_tensor("K\1", "K\1", "K\1", "K\5"));
  EXPECT_ERROR(checkpoint, "in a record of 16 bytes", read_tensor("K\1", "K\1", "K\1", huge));
  EXPECT_ERROR(checkpoint, "not to a storage", read_tensor("K\1", "K\1", "K\1", minus));
  EXPECT_ERROR(checkpoint, "no record 'a/data/../0'", read_tensor("K\1", "K\1", "K\1", "K\4", "U\4../0"));
  EXPECT_ERROR(checkpoint, "with a name of 2000 bytes", read_archive("\x80\2}X\xd0\7\0\0"s + std::string(2000, 'n') +
      "ctorch._utils\n_rebuild_tensor\n((U\7storagectorch\nFloatStorage\nU\0010U\3cpuK\4tQK\0))tRs."s,
      PickleSource::torch_save));
}

TEST("a tensor's bytes are compared with their checksum when it is read") {
  const std::string floats(16, '\7');
  auto zip = nd::fuzz::make_zip({{"a/data.pkl", "\x80\2}U\1wctorch._utils\n_rebuild_tensor\n((U\7storagectorch\nFloatStorage\n"
                                                "U\0010U\3cpuK\4tQK"s + '\0' + "(K\4t(K\1ttRs."},
                                 {"a/data/0", floats}});
  EXPECT_EQUAL(nd::read_torch_pickle({shared(zip), "x.bin"})->read("w").numel(), int64_t{4});
  zip[zip.find(floats) + 3] ^= 1;
  const auto state = nd::read_torch_pickle({shared(zip), "x.bin"});
  EXPECT_ERROR(checkpoint, "the checksum of 'a/data/0' is wrong", state->read("w"));
}

/// A dict in which one tensor stands under 60001 names, over one record of 1 MiB of this name.
auto read_repeated(const std::string& record, std::vector<std::string>& names) {
  const auto text = [](const std::string& value) {
    std::string length(4, '\0');
    for (size_t i = 0; i < 4; ++i) length[i] = static_cast<char>(value.size() >> (8 * i));
    return "X" + length + value;
  };
  auto data = "\x80\2}" + text("a") + "ctorch._utils\n_rebuild_tensor\n((U\7storagectorch\nFloatStorage\n" +
              text(record) + "U\3cpuK\4tQK"s + '\0' + "))tRq\1s";
  names = {"a"};
  for (int i = 0; i < 60000; ++i) {
    names.push_back(std::to_string(i));
    data += text(names.back()) + "h\1s";
  }
  const std::string floats(1 << 20, '\0');
  return nd::read_torch_pickle({shared(nd::fuzz::make_zip({{"a/data.pkl", data + "."}, {"a/data/" + record, floats}})),
                                "x.bin"});
}

TEST("tensors of one record cost its checksum once, and its name's bytes once") {
  std::vector<std::string> names;
  const auto before = std::chrono::steady_clock::now();
  const auto state = read_repeated(std::string(60000, 'r'), names);  // 3.6 GB of names
  for (const auto& name : names) EXPECT_EQUAL(state->read(name).numel(), int64_t{1});  // 63 GB of checksums
  EXPECT(std::chrono::steady_clock::now() - before < std::chrono::seconds(10));
}

TEST("modules in themselves, and in one another without end, are refused") {
  const auto module = "c__torch__\nM\n)\x81"s;
  EXPECT_ERROR(checkpoint, "without end", read_archive("\x80\2" + module + "q\1}U\1ah\1sb.", PickleSource::torchscript));
  EXPECT_ERROR(checkpoint, "no parameters", read_archive("\x80\2" + module + ".", PickleSource::torchscript));
  // 2³⁰ ways through 30 modules.
  auto twice = "\x80\2" + module + "q\1";
  for (int i = 0; i < 30; ++i) twice += module + "}(U\1ah\1U\1bh\1ubq\1";
  EXPECT_ERROR(checkpoint, "without end", read_archive(twice + ".", PickleSource::torchscript));
}

TEST("archives with bytes changed anywhere are refused or read, and never crash") {
  std::mt19937 random(11);
  for (const char* name : {"views.bin", "scripted.pt", "dtypes.safetensors"}) {
    const auto good = read_file(checkpoint_fixture(name));
    for (int i = 0; i < 300; ++i) {
      auto bytes = good;
      for (int k = 0; k < 3; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
      const nd::test::TemporaryFile file(bytes);
      try {
        const auto state = open_checkpoint(file.path());
        for (const auto& entry : state->entries()) EXPECT(state->read(entry.name).is_contiguous());
      } catch (const nd::Error& e) {
        EXPECT(e.code() == nd::ErrorCode::checkpoint || e.code() == nd::ErrorCode::dtype);
      }
    }
  }
}

}  // namespace
