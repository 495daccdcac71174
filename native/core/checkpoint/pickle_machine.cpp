#include "core/checkpoint/pickle_machine.h"

#include <cstring>
#include <unordered_map>

#include "core/checkpoint/pickle_bytes.h"
#include "core/checkpoint/pickle_globals.h"

namespace nd {
namespace {

/// A tensor takes about 20; this is enough for 100,000 of them.
constexpr size_t kMaxValues = 1 << 21;
/// Of all tuples, lists and dicts together: a call may copy those of another.
constexpr size_t kMaxItems = 1 << 23;
constexpr size_t kMaxRank = 64;

using Kind = PickleValue::Kind;
using Item = const PickleValue*;

class Machine : private PickleBytes {
 public:
  Machine(std::string_view bytes, PickleSource source, const std::string& what)
      : PickleBytes(bytes, what), source_(source) {}

  Pickle run() {
    while (pickle_.top == nullptr) execute(number<uint8_t>());
    return std::move(pickle_);
  }

 private:
  PickleValue& make(Kind kind) {
    if (pickle_.values.size() >= kMaxValues) refuse("it has more than ", kMaxValues, " values");
    pickle_.values.emplace_back().kind = kind;
    return pickle_.values.back();
  }

  void push(PickleValue& value) {
    stack_.push_back(&value);
    // What is recalled costs the stack memory too, without a new value.
    if (stack_.size() > kMaxValues) refuse("its stack is too deep");
  }
  void push_integer(int64_t value, Kind kind = Kind::integer) {
    auto& made = make(kind);
    made.integer = value;
    push(made);
  }
  void push_text(uint64_t length) { push_named(Kind::text, text(length), {}); }
  /// The values above the last mark are all that an opcode may reach.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleValue* pop() {
    if (stack_.size() <= floor()) refuse("its stack is empty");
    auto* value = stack_.back();
    stack_.pop_back();
    return value;
  }
  PickleValue& top() {
    if (stack_.size() <= floor()) refuse("its stack is empty");
    return *stack_.back();
  }
  std::vector<Item> pop_to_mark() {
    if (marks_.empty()) refuse("a mark is missing");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Item> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }

  void count(size_t items) {
    items_ += items;
    if (items_ > kMaxItems) refuse("its tuples, lists and dicts have more than ", kMaxItems, " entries");
  }
  void push_sequence(Kind kind, std::vector<Item> items) {
    count(items.size());
    auto& made = make(kind);
    made.items = std::move(items);
    push(made);
  }
  void extend(Kind kind, const std::vector<Item>& items) {
    auto& target = top();
    if (target.kind != kind) refuse("it adds to what is no ", kind == Kind::dict ? "dict" : "list");
    if (kind == Kind::dict && items.size() % 2 != 0) refuse("a key has no value");
    count(items.size());
    target.items.insert(target.items.end(), items.begin(), items.end());
  }
  std::vector<Item> pop_items(size_t count) {
    std::vector<Item> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }

  void remember(uint64_t index) {
    memo_[index] = &top();  // fifty bytes for one of the pickle's
    if (memo_.size() > kMaxValues) refuse("it keeps more than ", kMaxValues, " values");
  }
  void recall(uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) refuse("it recalls what it has not kept");
    push(*found->second);
  }

  PickleGlobal meaning(Item global) const {
    if (global->kind != Kind::global) refuse("it calls what is no function");
    return static_cast<PickleGlobal>(global->integer);
  }
  void push_named(Kind kind, std::string_view text, std::string_view name) {
    auto& made = make(kind);
    made.text = text;
    made.name = name;
    push(made);
  }
  void push_global(std::string_view module, std::string_view name) {
    const auto meaning = find_global(module, name, source_);
    if (!meaning) refuse("it names ", module.substr(0, 200), ".", name.substr(0, 200), ", which tensors do not need");
    push_named(Kind::global, module, name);
    top().integer = static_cast<int64_t>(*meaning);  // kept: the bytes of a mapped file may change under us
  }

  /// ('storage', type, key, location, entries); where it once lay does not matter.
  void load_storage() {
    const auto* id = pop();
    const auto is = [&](size_t i, Kind kind) { return id->items[i]->kind == kind; };
    if (id->kind != Kind::tuple || id->items.size() != 5 || !is(0, Kind::text) || id->items[0]->text != "storage" ||
        !is(1, Kind::global) || !is(2, Kind::text) || !is(4, Kind::integer) ||
        meaning(id->items[1]) != PickleGlobal::storage || id->items[4]->integer < 0) {
      refuse("a reference is not to a storage");
    }
    push_named(Kind::storage, id->items[2]->text, id->items[1]->name);
    top().integer = id->items[4]->integer;
  }

  void push_tensor(const PickleValue& arguments, size_t least, size_t most) {
    const auto& items = arguments.items;
    const auto are_integers = [](Item value) {
      if ((value->kind != Kind::tuple && value->kind != Kind::list) || value->items.size() > kMaxRank) return false;
      for (const auto* entry : value->items) {
        if (entry->kind != Kind::integer) return false;
      }
      return true;
    };
    const bool has_dtype = least == 7;
    if (items.size() < least || items.size() > most || items[0]->kind != Kind::storage ||
        items[1]->kind != Kind::integer || !are_integers(items[2]) || !are_integers(items[3]) ||
        (has_dtype && (items[6]->kind != Kind::global || meaning(items[6]) != PickleGlobal::dtype))) {
      refuse("a tensor has the wrong arguments");
    }
    std::vector<Item> described(items.begin(), items.begin() + 4);
    if (has_dtype) described.push_back(items[6]);
    push_sequence(Kind::tensor, std::move(described));
  }

  void reduce() {
    const auto* arguments = pop();
    const auto* function = pop();
    if (arguments->kind != Kind::tuple) refuse("a call has no tuple of arguments");
    const auto& items = arguments->items;
    const auto first_is = [&](Kind kind) { return !items.empty() && items[0]->kind == kind; };
    switch (meaning(function)) {
      case PickleGlobal::ordered_dict:
        if (!items.empty()) refuse("an OrderedDict has arguments");
        return push(make(Kind::dict));
      case PickleGlobal::tensor: return push_tensor(*arguments, 4, 4);
      case PickleGlobal::tensor_v2: return push_tensor(*arguments, 6, 7);
      case PickleGlobal::tensor_v3: return push_tensor(*arguments, 7, 8);
      case PickleGlobal::parameter:
        if (!first_is(Kind::tensor)) refuse("a parameter is no tensor");
        return push_sequence(Kind::tensor, items[0]->items);
      case PickleGlobal::size:
        if (!first_is(Kind::tuple) && !first_is(Kind::list)) refuse("a Size has no sizes");
        return push_sequence(Kind::tuple, items[0]->items);
      case PickleGlobal::script_list:
        if (!first_is(Kind::list)) refuse("a list is no list");
        return push_sequence(Kind::list, items[0]->items);
      case PickleGlobal::script_tagged:
        if (items.empty()) refuse("a value is missing");
        return push(const_cast<PickleValue&>(*items[0]));  // one of pickle_'s own
      case PickleGlobal::script_device: return push(make(Kind::none));
      case PickleGlobal::script_class:
      case PickleGlobal::storage:
      case PickleGlobal::dtype: break;
    }
    refuse("it calls ", function->text, ".", function->name);
  }

  void new_object() {
    const auto* arguments = pop();
    const auto* type = pop();
    if (meaning(type) != PickleGlobal::script_class || arguments->kind != Kind::tuple || !arguments->items.empty()) {
      refuse("it makes an object of ", type->text, ".", type->name);
    }
    push_named(Kind::record, type->text, type->name);
  }

  /// A record's attributes; an OrderedDict's (state_dict()'s _metadata) say nothing about tensors.
  void build() {
    const auto* state = pop();
    auto& target = top();
    if (target.kind == Kind::dict && state->kind == Kind::dict) return;
    if (target.kind != Kind::record) refuse("it sets attributes of what has none");
    target.items = {state};
  }

  void execute(unsigned char opcode);
  void execute_number(unsigned char opcode);

  PickleSource source_;
  Pickle pickle_;
  size_t items_ = 0;
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleValue*> memo_;
};

/// Python's pickletools.py describes each; those that no torch.save or TorchScript writes for tensors are left out.
void Machine::execute(unsigned char opcode) {
  switch (opcode) {
    case 0x80:  // PROTO
      if (const int protocol = number<uint8_t>(); protocol < 2 || protocol > 5) {
        refuse("it has protocol ", protocol);
      }
      return;
    case 0x95: take(8); return;  // FRAME: says where to read ahead
    case '.': pickle_.top = pop(); return;
    case '(':
      if (marks_.size() >= kMaxValues) refuse("it has too many marks");
      marks_.push_back(stack_.size());
      return;
    case '0': pop(); return;
    case '1': pop_to_mark(); return;
    case ')': return push(make(Kind::tuple));
    case 't': return push_sequence(Kind::tuple, pop_to_mark());
    case 0x85: return push_sequence(Kind::tuple, pop_items(1));
    case 0x86: return push_sequence(Kind::tuple, pop_items(2));
    case 0x87: return push_sequence(Kind::tuple, pop_items(3));
    case ']': return push(make(Kind::list));
    case 'l': return push_sequence(Kind::list, pop_to_mark());
    case 'a': return extend(Kind::list, pop_items(1));
    case 'e': return extend(Kind::list, pop_to_mark());
    case '}': return push(make(Kind::dict));
    case 's': return extend(Kind::dict, pop_items(2));
    case 'u': return extend(Kind::dict, pop_to_mark());
    case 'q': return remember(number<uint8_t>());
    case 'r': return remember(number<uint32_t>());
    case 0x94: return remember(memo_.size());  // MEMOIZE
    case 'h': return recall(number<uint8_t>());
    case 'j': return recall(number<uint32_t>());
    case 'c': {  // GLOBAL
      const auto module = line();
      return push_global(module, line());
    }
    case 0x93: {  // STACK_GLOBAL
      const auto* name = pop();
      const auto* module = pop();
      if (name->kind != Kind::text || module->kind != Kind::text) refuse("a name is no text");
      return push_global(module->text, name->text);
    }
    case 'Q': return load_storage();
    case 'R': return reduce();
    case 0x81: return new_object();
    case 'b': return build();
    default: return execute_number(opcode);
  }
}

/// The opcodes that carry a number, a text or a constant.
void Machine::execute_number(unsigned char opcode) {
  switch (opcode) {
    case 'N': return push(make(Kind::none));
    case 0x88: return push_integer(1, Kind::boolean);
    case 0x89: return push_integer(0, Kind::boolean);
    case 'K': return push_integer(number<uint8_t>());
    case 'M': return push_integer(number<uint16_t>());
    case 'J': return push_integer(number<int32_t>());
    case 0x8a: {  // LONG1: little-endian two's complement
      const auto digits = take(number<uint8_t>());
      if (digits.size() > 8) refuse("an integer has more than 64 bits");
      int64_t value = !digits.empty() && (digits.back() & 0x80) != 0 ? -1 : 0;
      std::memcpy(&value, digits.data(), digits.size());
      return push_integer(value);
    }
    case 'G': take(8); return push(make(Kind::real));  // no tensor's description has one
    case 'X':
    case 'T':
    case 'B': return push_text(number<uint32_t>());  // text, Python 2's string, bytes
    case 0x8c:
    case 'U':
    case 'C': return push_text(number<uint8_t>());
    case 0x8d: return push_text(number<uint64_t>());
    default: refuse("it has the opcode ", static_cast<int>(opcode), ", which tensors do not need");
  }
}

}  // namespace

Pickle read_pickle(std::string_view bytes, PickleSource source, const std::string& what) {
  return Machine(bytes, source, what).run();
}

}  // namespace nd
