#include "core/checkpoint/safetensors_writer.h"

#include <ATen/ATen.h>

#include <bit>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "core/checkpoint/atomic_file.h"
#include "core/errors.h"

namespace nd {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors' data are little-endian");

const char* safetensors_dtype(at::ScalarType dtype, const std::string& name) {
  switch (dtype) {
    case at::kFloat: return "F32";
    case at::kDouble: return "F64";
    case at::kHalf: return "F16";
    case at::kBFloat16: return "BF16";
    case at::kLong: return "I64";
    case at::kInt: return "I32";
    case at::kByte: return "U8";
    case at::kBool: return "BOOL";
    default: fail(ErrorCode::dtype, "tensor ", name, " of dtype ", c10::toString(dtype), " can't be saved as safetensors");
  }
}

std::string json_string(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      quoted += escape;
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string header_of(const NamedTensors& tensors) {
  std::ostringstream header;
  header << R"({"__metadata__":{"format":"pt"})";
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const uint64_t end = offset + tensor.nbytes();
    header << ',' << json_string(name) << R"(:{"dtype":")" << safetensors_dtype(tensor.scalar_type(), name)
           << R"(","shape":[)";
    for (int64_t i = 0; i < tensor.dim(); ++i) header << (i == 0 ? "" : ",") << tensor.size(i);
    header << R"(],"data_offsets":[)" << offset << ',' << end << "]}";
    offset = end;
  }
  header << '}';
  auto text = header.str();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data start aligned
  return text;
}

}  // namespace

void write_safetensors(const std::string& path, const NamedTensors& tensors) {
  const auto header = header_of(tensors);
  write_atomically(path, [&](const std::string& temporary) {
    std::ofstream file(temporary, std::ios::binary);
    const uint64_t length = header.size();
    file.write(reinterpret_cast<const char*>(&length), sizeof length);
    file.write(header.data(), static_cast<std::streamsize>(length));
    for (const auto& [name, tensor] : tensors) {
      const auto dense = tensor.to(at::kCPU).contiguous();
      file.write(static_cast<const char*>(dense.const_data_ptr()), static_cast<std::streamsize>(dense.nbytes()));
    }
    file.close();
    if (!file) fail(ErrorCode::argument, path, " can't be written: is the folder there, and the disk not full?");
  });
}

}  // namespace nd
