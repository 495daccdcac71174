// What each step of UNet2DModel's CPU forward gains: unet_levers_bench FOLDER [ROUNDS=15] [FILE.json]
// FOLDER holds config.json and diffusion_pytorch_model.safetensors. For float32 and bfloat16, batch 1 and 8, it takes the
// forward's layers one part after the other, in each way that the part can be done: medians a layer, ways in turn, and their
// sums, in ms a forward.

#include "bench.h"
#include "unet_parts.h"

#include "core/buffer_pool.h"
#include "core/device.h"
#include "core/errors.h"
#include "core/unet/onednn_ops.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <nlohmann/json.hpp>

#include <cstdio>

namespace {

using namespace nd::bench;
using Json = nlohmann::ordered_json;

/// Milliseconds by arm, of layers of one shape or of a whole part.
struct Line {
  std::string name;
  int64_t count = 0;
  std::vector<double> milliseconds;
};
struct Measured {
  Line whole;
  std::vector<Line> shapes;
};

void check_same(const Part& part, at::ScalarType dtype) {
  const double tolerance = dtype == at::kFloat ? 1e-5 : 2e-2;
  for (const auto& job : part.jobs) {
    const auto wanted = job.arms.front().run();
    for (size_t i = 1; i < job.arms.size() && wanted.defined(); ++i) {
      const auto got = job.arms[i].run().to(at::kDouble);
      const auto error = ((got - wanted).norm() / wanted.to(at::kDouble).norm()).item<double>();
      if (error <= tolerance) continue;
      nd::fail(nd::ErrorCode::op, part.name, ", ", job.shape, ": '", part.arms[i], "' differs from '",
               part.arms.front(), "' by ", error);
    }
  }
}

void add(Line& sum, const std::vector<double>& milliseconds) {
  ++sum.count;
  sum.milliseconds.resize(milliseconds.size());
  for (size_t i = 0; i < milliseconds.size(); ++i) sum.milliseconds[i] += milliseconds[i];
}

Measured measure(const Part& part, at::ScalarType dtype, int rounds) {
  nd::BufferPools pools;
  const nd::BufferPools::Use kept(pools);
  check_same(part, dtype);
  const auto arms = part.arms.size();
  std::vector<std::vector<std::vector<double>>> times(part.jobs.size(), std::vector<std::vector<double>>(arms));
  for (int round = 0; round <= rounds; ++round) {
    for (size_t turn = 0; turn < arms; ++turn) {
      const auto arm = (static_cast<size_t>(round) + turn) % arms;
      for (size_t i = 0; i < part.jobs.size(); ++i) {
        const auto& [before, run] = part.jobs[i].arms[arm];
        before();
        const auto start = Clock::now();
        run();
        if (round > 0) times[i][arm].push_back(milliseconds_since(start));  // the first is the warm-up
      }
    }
  }
  Measured result{{part.name}, {}};
  for (size_t i = 0; i < part.jobs.size(); ++i) {
    std::vector<double> medians;
    for (const auto& of_arm : times[i]) medians.push_back(median(of_arm));
    add(result.whole, medians);
    const auto& shape = part.jobs[i].shape;
    const auto known = std::find_if(result.shapes.begin(), result.shapes.end(), [&](auto& line) { return line.name == shape; });
    add(known == result.shapes.end() ? result.shapes.emplace_back(Line{shape}) : *known, medians);
  }
  return result;
}

/// A cell of so many columns: printf counts bytes.
std::string padded(const std::string& text, size_t width) {
  const auto length = static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
  return text + std::string(length < width ? width - length : 0, ' ');
}

void print(const Line& line, const char* indent) {
  std::printf("%s%s %4lld", indent, padded(line.name, 36 - std::string_view(indent).size()).c_str(),
              static_cast<long long>(line.count));
  for (const auto ms : line.milliseconds) std::printf(" %10.3f", ms);
  if (line.milliseconds.size() == 2) std::printf(" %10s", "");
  std::printf("  %5.2f×\n", line.milliseconds.front() / line.milliseconds.back());
}

void print(const Part& part, const Measured& measured) {
  std::string arms;
  for (const auto& arm : part.arms) arms += (arms.empty() ? "" : ", ") + arm;
  print(measured.whole, "");
  std::printf("  %s\n", arms.c_str());
  if (measured.shapes.size() == 1) return;
  for (const auto& line : measured.shapes) print(line, "  ");
}

Json to_json(const Part& part, const Measured& measured) {
  const auto line = [&](const Line& of) {
    Json json{{"name", of.name}, {"count", of.count}};
    for (size_t i = 0; i < part.arms.size(); ++i) json["milliseconds"][part.arms[i]] = of.milliseconds[i];
    return json;
  };
  auto json = line(measured.whole);
  for (const auto& shape : measured.shapes) json["shapes"].push_back(line(shape));
  return json;
}

struct Arguments {
  std::string folder;
  int rounds;
  std::string json;
};

Json run(const Arguments& given, const nd::UNet2DConfig& config, const std::shared_ptr<const nd::StateDict>& checkpoint,
         at::ScalarType dtype, int64_t batch) {
  const auto layers = unet_layers(config, *checkpoint);
  const UNetCase unet{config, layers, {at::kCPU, dtype}, batch};
  const auto dtype_name = nd::dtype_name(dtype);
  std::printf("%s, batch %lld, %d threads: ms a forward, and how many times less the last way takes\n", dtype_name.c_str(),
              static_cast<long long>(batch), at::get_num_threads());
  Json parts = Json::array();
  double saved = 0, forward = 0;
  const auto take = [&](const Part& part) {
    const auto measured = measure(part, dtype, given.rounds);
    print(part, measured);
    parts.push_back(to_json(part, measured));
    const auto& ms = measured.whole.milliseconds;
    saved += ms.front() - ms.back();
    forward = ms.back();
  };
  take(convolutions_3x3(unet));
  take(products(unet));
  take(norms(unet));
  take(attentions(unet));
  take(epilogues(unet));
  take(time_embedding(unet));
  take(buffers(unet, nd::UNet2DModel::load(config, checkpoint, unet.target)));
  std::printf("a forward takes %.2f ms; the steps saved %.2f\n\n", forward, saved);
  return {{"dtype", dtype_name}, {"batch", batch}, {"threads", at::get_num_threads()}, {"parts", parts}};
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "unet_levers_bench FOLDER [ROUNDS=15] [FILE.json]\n");
    return 2;
  }
  const c10::InferenceMode inference;
  const Arguments given{arguments[1], count > 2 ? std::stoi(arguments[2]) : 15, count > 3 ? arguments[3] : ""};
  const auto config = read_config(given.folder);
  const auto checkpoint = nd::with_current_names(nd::open_checkpoint(weights_file(given.folder)));
  Json cases = Json::array();
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    if (!nd::onednn::available(dtype)) {
      std::printf("%s is left out: oneDNN has no convolutions in it here\n", nd::dtype_name(dtype).c_str());
      continue;
    }
    for (const int64_t batch : {1, 8}) cases.push_back(run(given, config, checkpoint, dtype, batch));
  }
  if (!given.json.empty()) std::ofstream(given.json) << Json{{"folder", given.folder}, {"cases", cases}}.dump(2) << '\n';
}
