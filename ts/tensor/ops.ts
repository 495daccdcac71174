import { addon } from '../native/addon';
import { callAten } from './tensor';

/** An operator: arguments by position as in its schema, keyword-only ones in a last plain object. */
export type AtenOperator = (...args: unknown[]) => unknown;

const operators = new Map<string, AtenOperator>();

function operatorOf(name: string): AtenOperator {
  const known = operators.get(name);
  if (known !== undefined) return known;
  const operator: AtenOperator = (...args) => callAten(name, args);
  operators.set(name, operator);
  return operator;
}

let names: Set<string> | undefined;
const isOperator = (name: string): boolean => (names ??= new Set(addon().opNames())).has(name.split('.', 1)[0]!);

/**
 * Every ATen operator through libtorch's dispatcher, by its name or with its overload: `ops.aten.silu(x)`,
 * `ops.aten['add.Tensor'](x, y, { alpha: 2 })`. The overload is chosen by the arguments' types; an integral number is an
 * int Scalar. Underscore-prefixed, `out=` and file operators are not there. A call throws ArgumentError for arguments
 * that fit no overload and OpError for what the operator itself refuses. Some operators (`…_backward`, `native_…`) refuse
 * little: senseless sizes or indices end the process, as in Python.
 *
 * @example
 * const y = ops.aten.silu!(x) as Tensor;
 */
export const ops: { readonly aten: Readonly<Record<string, AtenOperator>> } = {
  aten: new Proxy(Object.create(null) as Record<string, AtenOperator>, {
    get: (_, name) => (typeof name === 'string' && isOperator(name) ? operatorOf(name) : undefined),
    has: (_, name) => typeof name === 'string' && isOperator(name),
    ownKeys: () => addon().opNames(),
    getOwnPropertyDescriptor: (_, name) =>
      typeof name === 'string' && isOperator(name)
        ? { value: operatorOf(name), enumerable: true, configurable: true, writable: false }
        : undefined,
    set: () => false,
  }),
};
