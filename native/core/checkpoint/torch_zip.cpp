#include "core/checkpoint/torch_zip.h"

#include "core/checkpoint/pickle_globals.h"
#include "core/errors.h"

namespace nd {

TorchZip::TorchZip(SharedBytes bytes, std::string what) : bytes_(std::move(bytes)), what_(std::move(what)) {
  const auto records = read_zip_directory(bytes_.view, what_);
  if (records.empty()) fail(ErrorCode::checkpoint, what_, " is an empty archive");
  root_ = records.front().name.substr(0, records.front().name.find('/') + 1);
  for (const auto& record : records) {
    auto shared = std::make_shared<StoredRecord>();
    shared->record = record;
    records_.emplace(record.name, std::move(shared));
  }
  if (!has("data.pkl")) fail(ErrorCode::checkpoint, what_, " is no archive of torch's: it has no data.pkl");
  if (has("byteorder")) {
    const auto order = read("byteorder");
    if (order != "little") {
      fail(ErrorCode::checkpoint, what_, " must hold little-endian numbers, got byte order '", order.substr(0, 40),
           "'");
    }
  }
}

bool TorchZip::has(const std::string& name) const {
  const auto found = records_.lower_bound(root_ + name);
  if (found == records_.end()) return false;
  return name.ends_with('/') ? found->first.starts_with(root_ + name) : found->first == root_ + name;
}

const std::shared_ptr<StoredRecord>& TorchZip::record(const std::string& name) const {
  const auto found = records_.find(root_ + name);
  if (found == records_.end()) fail(ErrorCode::checkpoint, what_, " has no record '", root_, name, "'");
  return found->second;
}

std::string_view TorchZip::read(const std::string& name) const {
  return read_stored_record(bytes_.view, what_, record(name)->record);
}

TensorPlace TorchZip::place(std::string name, const PickleValue& tensor) const {
  if (name.size() > kMaxTensorName) {
    fail(ErrorCode::checkpoint, what_, " has a tensor with a name of ", name.size(), " bytes");
  }
  const auto label = what_ + ": tensor '" + name + "'";
  const auto& storage = *tensor.items[0];
  const auto storage_dtype = dtype_of(storage.name);
  const auto dtype = tensor.items.size() > 4 ? dtype_of(tensor.items[4]->name) : storage_dtype;
  if (!dtype) fail(ErrorCode::dtype, label, " is of a dtype that is not stated");
  const auto& shared = record("data/" + std::string(storage.text));
  const auto& data = shared->record;
  if (data.deflated) fail(ErrorCode::checkpoint, label, " is packed; torch.save stores tensors as they are");
  // UntypedStorage counts in bytes.
  const auto unit = storage_dtype ? c10::elementSize(*storage_dtype) : 1;
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<uint64_t>(storage.integer), unit, &bytes) || bytes > data.size) {
    fail(ErrorCode::checkpoint, label, " has a storage of ", storage.integer, " entries in a record of ", data.size,
         " bytes");
  }
  TensorPlace place;
  const auto offset = tensor.items[1]->integer;
  if (offset < 0 || __builtin_mul_overflow(static_cast<uint64_t>(offset), c10::elementSize(*dtype), &place.first)) {
    fail(ErrorCode::checkpoint, label, " has the impossible offset ", offset);
  }
  place.info = {std::move(name), {}, *dtype};
  for (const auto* size : tensor.items[2]->items) place.info.shape.push_back(size->integer);
  for (const auto* stride : tensor.items[3]->items) place.strides.push_back(stride->integer);
  place.storage = bytes_.view.substr(data.data, bytes);
  place.verify = [view = bytes_.view, what = what_, shared] {
    if (shared->intact.load(std::memory_order_relaxed)) return;
    read_stored_record(view, what, shared->record);
    shared->intact.store(true, std::memory_order_relaxed);
  };
  return place;
}

}  // namespace nd
