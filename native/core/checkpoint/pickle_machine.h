#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace nd {

/// What a pickle builds up, as data. Values are shared and may contain themselves: whoever walks them bounds the walk.
struct PickleValue {
  enum class Kind { none, boolean, integer, real, text, tuple, list, dict, global, storage, tensor, record };

  Kind kind = Kind::none;
  int64_t integer = 0;    // boolean, integer; storage: its entries; global: its PickleGlobal
  std::string_view text;  // text; global: its module; storage: its key; in the pickle's bytes
  std::string_view name;  // global: its name in the module; storage: its type's
  /// tuple, list: the entries. dict: key, value, key, value, …. record: its state, once it has one. tensor: storage,
  /// offset, sizes, strides, and the dtype where it is stated.
  std::vector<const PickleValue*> items;
};

/// Whose pickles: torch.save's of a dict of tensors, or data.pkl of a TorchScript archive, whose objects of the
/// archive's classes (`__torch__.…`) become records.
enum class PickleSource { torch_save, torchscript };

/// The values that a pickle builds; they live as long as this and the pickle's bytes.
struct Pickle {
  std::deque<PickleValue> values;
  const PickleValue* top = nullptr;
};

/// Reads a pickle.
///
/// Why this is safe: a pickle is a program for a machine whose GLOBAL and REDUCE may import and call anything. This
/// machine has nothing to import from and nothing to call. GLOBAL looks a name up in a closed table and refuses any
/// other by name; REDUCE on one of the table's names writes its arguments down as a tensor's description, an entry of
/// the same kind as a number or a list; there is no opcode, name or value in a file that leads to code other than the
/// switch in this machine. Texts and sizes are bounded by the pickle's own bytes, values by their number, so that time
/// and memory grow no faster than the file. What a description claims (offsets, sizes, strides) is checked by
/// StoredTensors.
///
/// Throws ERR_CHECKPOINT; `what` opens the message.
Pickle read_pickle(std::string_view bytes, PickleSource source, const std::string& what);

}  // namespace nd
