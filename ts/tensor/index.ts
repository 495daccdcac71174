export { Tensor, type Operand, type ReduceOptions } from './tensor';
export { type FloatingDType, type NestedNumbers, type TensorLike, type TypedArray } from './tensor-data';
export { Generator, manualSeed } from './generator';
export { arange, cat, full, lerp, linspace, ones, randn, slerp, stack, zeros, type CreateOptions } from './create';
export { ops, type AtenOperator } from './ops';
export { tidy } from './tidy';
