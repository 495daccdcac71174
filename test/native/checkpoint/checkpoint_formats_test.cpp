#include <ATen/ATen.h>
#include <sys/stat.h>

#include <filesystem>

#include "check.h"
#include "checkpoint/shared_bytes.h"
#include "checkpoint/temporary_file.h"
#include "core/checkpoint/safetensors_writer.h"
#include "core/checkpoint/sharded_checkpoint.h"
#include "core/checkpoint/state_dict.h"

using nd::open_checkpoint;
using nd::test::checkpoint_fixture;
using nd::test::TemporaryFile;

namespace {

void expect_equal(const nd::StateDict& a, const nd::StateDict& b) {
  EXPECT_EQUAL(a.entries().size(), b.entries().size());
  for (const auto& [name, shape, dtype] : a.entries()) {
    EXPECT(b.find(name) != nullptr && b.find(name)->shape == shape && b.find(name)->dtype == dtype);
    EXPECT(at::equal(a.read(name), b.read(name)));
  }
}

auto read_index(const std::string& index) {
  return nd::read_sharded_checkpoint(index, "index.json", [](const std::string&) -> std::shared_ptr<const nd::StateDict> {
    return open_checkpoint(checkpoint_fixture("dtypes.safetensors"));
  });
}

TEST("one UNet in every format that Python writes has the same tensors") {
  const auto whole = open_checkpoint(checkpoint_fixture("whole/diffusion_pytorch_model.safetensors"));
  EXPECT(whole->entries().size() > 50);
  int64_t k = 0;
  for (const auto& [name, shape, dtype] : whole->entries()) {
    const auto tensor = whole->read(name);
    EXPECT(at::equal(tensor, (k++ + at::arange(tensor.numel()) / 64.0).to(at::kFloat).view(shape)));
  }
  expect_equal(*whole, *open_checkpoint(checkpoint_fixture("sharded/diffusion_pytorch_model.safetensors.index.json")));
  expect_equal(*whole, *open_checkpoint(checkpoint_fixture("sharded-bin/diffusion_pytorch_model.bin.index.json")));
  expect_equal(*whole, *open_checkpoint(checkpoint_fixture("unet.bin")));
}

TEST("an index leads nowhere but to the files beside it") {
  const auto index = [](const std::string& file) { return R"({"weight_map":{"float32":)" + file + "}}"; };
  EXPECT_EQUAL(read_index(index("\"a.safetensors\""))->read("float32").numel(), int64_t{6});
  for (const std::string file : {"\"../a\"", "\"/etc/passwd\"", "\"b/a\"", "\"..\"", "\".\"", "\"\"", "\"a\\\\b\"",
                                 "\"a\\u0000b\"", "7", "null"}) {
    EXPECT_ERROR(checkpoint, "in a file beside the index", read_index(index(file)));
  }
  EXPECT_ERROR(checkpoint, "'other' is not in a", read_index(R"({"weight_map":{"other":"a"}})"));
  EXPECT_ERROR(checkpoint, "weight_map", read_index("{}"));
  EXPECT_ERROR(checkpoint, "weight_map", read_index(R"({"weight_map":[]})"));
  EXPECT_ERROR(checkpoint, "no valid JSON", read_index("{"));
  EXPECT_ERROR(checkpoint, "twice", read_index(R"({"weight_map":{"a":"x","a":"y"}})"));
  EXPECT_ERROR(checkpoint, "no tensor 'int8'", read_index(index("\"a\""))->read("int8"));
}

TEST("an index names a missing file, and is no file of an index") {
  const TemporaryFile missing(R"({"weight_map":{"a":"no-such-file.safetensors"}})");
  EXPECT_ERROR(not_found, "no-such-file.safetensors does not exist", open_checkpoint(missing.path()));
  const TemporaryFile inner(R"({"weight_map":{}})");
  const auto name = inner.path().substr(inner.path().rfind('/') + 1);
  const TemporaryFile outer(R"({"weight_map":{"a":")" + name + "\"}}");
  EXPECT_ERROR(checkpoint, "is no checkpoint", open_checkpoint(outer.path()));
  EXPECT_EQUAL(open_checkpoint(inner.path())->entries().size(), size_t{0});
}

TEST("what is no checkpoint is refused, by name where it is known") {
  const auto open_bytes = [](const std::string& bytes) {
    const TemporaryFile file(bytes);
    open_checkpoint(file.path());
  };
  EXPECT_ERROR(not_found, "does not exist", open_checkpoint("/no/such/file"));
  EXPECT_ERROR(not_found, "dtypes.safetensors", open_checkpoint(checkpoint_fixture("dtypes.safetensors") + '\0' + "x"));
  EXPECT_ERROR(checkpoint, "must be a file", open_checkpoint(FIXTURES));
  EXPECT_ERROR(checkpoint, "must be a file", open_checkpoint("/dev/zero"));
  const TemporaryFile pipe("");
  std::filesystem::remove(pipe.path());
  EXPECT_EQUAL(mkfifo(pipe.path().c_str(), 0600), 0);
  EXPECT_ERROR(checkpoint, "must be a file", open_checkpoint(pipe.path()));  // without waiting for a writer
  EXPECT_ERROR(checkpoint, "is no checkpoint", open_bytes(""));
  EXPECT_ERROR(checkpoint, "is no checkpoint", open_bytes("<html>"));
  EXPECT_ERROR(checkpoint, "zip archive", open_bytes("PK\3\4"));
  EXPECT_ERROR(checkpoint, "Git LFS", open_bytes("version https://git-lfs.github.com/spec/v1\n"));
  EXPECT_ERROR(checkpoint, "save it again", open_checkpoint(checkpoint_fixture("legacy.bin")));
}

TEST("old attention names become today's, and only there") {
  const TemporaryFile file("");
  const auto t = [](int i) { return at::full({1}, i); };
  nd::write_safetensors(file.path(), {{"down_blocks.1.attentions.0.query.weight", t(1)},
                                      {"down_blocks.1.attentions.0.key.bias", t(2)},
                                      {"mid_block.attentions.0.value.weight", t(3)},
                                      {"attentions.12.proj_attn.bias", t(4)},
                                      {"attentions.0.group_norm.weight", t(5)},
                                      {"attentions.x.query.weight", t(6)},
                                      {"attentions.0.inner.query.weight", t(7)},
                                      {"attentions.0.query.scale", t(10)},
                                      {"heads.0.query.weight", t(11)},
                                      {"query.weight", t(8)},
                                      {"time_proj.W", t(9)}});
  const auto state = nd::with_current_names(open_checkpoint(file.path()));
  const std::vector<std::pair<std::string, int>> expected{{"attentions.0.group_norm.weight", 5},
                                                          {"attentions.0.inner.query.weight", 7},
                                                          {"attentions.0.query.scale", 10},
                                                          {"attentions.12.to_out.0.bias", 4},
                                                          {"attentions.x.query.weight", 6},
                                                          {"down_blocks.1.attentions.0.to_k.bias", 2},
                                                          {"down_blocks.1.attentions.0.to_q.weight", 1},
                                                          {"heads.0.query.weight", 11},
                                                          {"mid_block.attentions.0.to_v.weight", 3},
                                                          {"query.weight", 8},
                                                          {"time_proj.weight", 9}};
  EXPECT_EQUAL(state->entries().size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQUAL(state->entries()[i].name, expected[i].first);
    EXPECT_EQUAL(state->read(expected[i].first).item<int>(), expected[i].second);
  }
  EXPECT_ERROR(checkpoint, "is called 'mid_block.attentions.0.to_v.weight' now",
               state->read("mid_block.attentions.0.value.weight"));
  EXPECT_ERROR(checkpoint, "has no tensor 'x'", state->read("x"));
}

TEST("an old name beside its new one is refused, but for the fourier weights that diffusers saved twice") {
  const TemporaryFile file("");
  nd::write_safetensors(file.path(), {{"attentions.0.query.weight", at::zeros(1)}, {"attentions.0.to_q.weight", at::ones(1)}});
  EXPECT_ERROR(checkpoint, "are both 'attentions.0.to_q.weight'", nd::with_current_names(open_checkpoint(file.path())));
  nd::write_safetensors(file.path(), {{"time_proj.W", at::zeros(1)}, {"time_proj.weight", at::ones(1)}});
  const auto state = nd::with_current_names(open_checkpoint(file.path()));
  EXPECT_EQUAL(state->entries().size(), size_t{1});
  EXPECT_EQUAL(state->read("time_proj.weight").item<float>(), 1.f);
}

}  // namespace
