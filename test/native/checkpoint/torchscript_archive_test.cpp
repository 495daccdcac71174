#include "core/checkpoint/torchscript_archive.h"

#include <ATen/ATen.h>

#include <atomic>
#include <random>
#include <thread>

#include "check.h"
#include "checkpoint/temporary_file.h"

using nd::TorchScriptArchive;
using nd::test::fixture;
using nd::test::read_file;
using nd::test::TemporaryFile;

namespace {

auto load(const std::string& name, std::optional<at::ScalarType> dtype = {}, at::Device device = at::kCPU) {
  return TorchScriptArchive::load(fixture(name), device, dtype);
}

void load_bytes(const std::string& bytes) {
  const TemporaryFile file(bytes);
  TorchScriptArchive::load(file.path(), at::kCPU, {});
}

TEST("loads, states its schema, and runs") {
  const auto archive = load("lookup");
  EXPECT_EQUAL(archive->schema().arguments().size(), size_t{2});
  EXPECT_EQUAL(archive->schema().arguments()[1].name(), std::string("x"));
  EXPECT(archive->dtype() == at::kFloat);
  EXPECT(archive->device() == at::kCPU);
  EXPECT_EQUAL(archive->counts().parameters, size_t{4});
  EXPECT_EQUAL(archive->counts().buffers, size_t{2});
  EXPECT_EQUAL(archive->counts().bytes, uint64_t{4 * 4 + 2 * 8});
  const auto y = archive->forward({at::zeros({2})}).toTensor();
  EXPECT(at::equal(y, at::tensor({0.375f, 0.125f})));
  EXPECT(y.is_inference());
}

TEST("a cast leaves integer buffers alone, and calls of before keep the old weights") {
  const auto archive = load("lookup", at::kDouble);
  EXPECT(archive->forward({at::zeros({2}, at::kDouble)}).toTensor().scalar_type() == at::kDouble);
  archive->to({}, at::kBFloat16);
  EXPECT(archive->dtype() == at::kBFloat16);
  const auto y = archive->forward({at::zeros({2}, at::kBFloat16)}).toTensor();
  EXPECT(y.scalar_type() == at::kBFloat16);
  EXPECT(at::equal(y, at::tensor({0.375f, 0.125f}).to(at::kBFloat16)));
  EXPECT_ERROR(dtype, "dtype must be 'float32'", archive->to({}, at::kLong));
}

TEST("runs in several threads while it is cast") {
  const auto archive = load("tiny-unet");
  const auto call = [&] {
    const auto labels = at::tensor({0, 1}, at::kLong);
    return archive->forward({at::ones({2, 2, 8, 8}).to(*archive->dtype()), at::tensor({3, 4}, at::kLong), labels})
        .toTensor();
  };
  const auto expected = call();
  std::atomic<int> equal = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 5; ++k) equal += at::allclose(call(), expected, 1e-5, 1e-6);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQUAL(equal.load(), 20);

  std::thread casts([&] {
    for (int k = 0; k < 5; ++k) archive->to({}, k % 2 == 0 ? at::kDouble : at::kFloat);
  });
  for (int k = 0; k < 10; ++k) {
    const auto x = at::ones({1, 2, 8, 8});
    try {
      archive->forward({x, at::tensor({3}, at::kLong), at::tensor({0}, at::kLong)});
    } catch (const nd::Error& e) {
      EXPECT(e.code() == nd::ErrorCode::op);  // a float input for weights that are double by now
    }
  }
  casts.join();
  EXPECT(archive->dtype() == at::kDouble);
}

TEST("the wrong inputs name the argument, and what fails inside keeps torch's message alone") {
  EXPECT_ERROR(argument, "'x'", load("lookup")->forward({c10::IValue(1)}));
  EXPECT_ERROR(argument, "forward()", load("lookup")->forward({}));
  const auto archive = load("raises");
  const auto raised = EXPECT_ERROR(op, "the input is not to its taste", archive->forward({at::zeros({2, 2}), "raise"}));
  EXPECT(raised.find("Traceback") == std::string::npos);
  const auto shapes = EXPECT_ERROR(op, "mat1 and mat2", archive->forward({at::zeros({2, 3}), "multiply"}));
  EXPECT(shapes.find("Traceback") == std::string::npos && shapes.find("frame #") == std::string::npos);
}

TEST("a fixed device or dtype is refused where another is asked for, and only there") {
  EXPECT(
      at::equal(load("baked-device", at::kFloat)->forward({at::zeros({3})}).toTensor(), at::tensor({0.f, 1.f, 2.f})));
  EXPECT_ERROR(device, "scripts/export_torchscript.py", load("baked-device", {}, at::kMeta));
  EXPECT_ERROR(dtype, "has dtype 'float32' fixed in its graph and can't run in 'bfloat16'",
               load("baked-device", at::kBFloat16));
  EXPECT_ERROR(dtype, "scripts/export_torchscript.py", load("baked-dtype", at::kDouble));
  EXPECT_ERROR(dtype, "fixed in its graph", load("baked-dtype")->to({}, at::kDouble));
  EXPECT(load("tiny-unet", at::kBFloat16)->dtype() == at::kBFloat16);
}

TEST("what is no TorchScript is refused in one line") {
  const auto one_line = [](const std::string& message) { return message.find('\n') == std::string::npos; };
  EXPECT(one_line(EXPECT_ERROR(checkpoint, "torch.save", load("torch-save"))));
  EXPECT(one_line(EXPECT_ERROR(checkpoint, "has no method 'forward'", load("no-forward"))));
  EXPECT_ERROR(not_found, "does not exist", load("no-such-file"));
  EXPECT_ERROR(checkpoint, "too short", load_bytes("PK"));
  // An empty zip: its end record alone.
  EXPECT_ERROR(checkpoint, "empty archive", load_bytes("PK\5\6" + std::string(18, '\0')));
}

TEST("an archive with bytes changed anywhere is refused or runs, and never crashes") {
  const auto good = read_file(fixture("lookup"));
  std::mt19937 random(7);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    auto bytes = good;
    for (int k = 0; k < 3; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
    try {
      load_bytes(bytes);
    } catch (const nd::Error& e) {
      EXPECT(e.code() == nd::ErrorCode::checkpoint);
      ++refused;
    }
  }
  EXPECT(refused > 100);  // the rest hit padding
}

TEST("saves what it is now, extra files included") {
  const auto archive = load("tiny-unet", at::kDouble);
  EXPECT(archive->extra_files().at("config.json").find("\"num_class_embeds\": 3") != std::string::npos);
  const TemporaryFile file("");
  archive->save(file.path(), {{"note.txt", "hello"}});
  const auto copy = TorchScriptArchive::load(file.path(), at::kCPU, {});
  EXPECT(copy->dtype() == at::kDouble);
  EXPECT_EQUAL(copy->extra_files().at("note.txt"), std::string("hello"));
  EXPECT_EQUAL(copy->counts().parameters, archive->counts().parameters);
  EXPECT_ERROR(argument, "can't be written", archive->save("/no/such/folder/x.pt", {}));
}

}  // namespace
