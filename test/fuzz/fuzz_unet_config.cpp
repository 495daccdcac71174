#include <string_view>

#include "coded.h"
#include "core/unet/unet2d_config.h"

/// The text of a config.json.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nd::fuzz::coded({nd::ErrorCode::config}, [&] {
    const auto config = nd::parse_unet2d_config({reinterpret_cast<const char*>(data), size});
    if (config.block_out_channels.size() != config.down_block_types.size() || config.size_unit() < 1) std::abort();
  });
  return 0;
}
