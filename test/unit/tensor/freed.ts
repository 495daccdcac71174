import { Tensor } from '../../../ts/index';

/** The tensors that are disposed while `work` runs, whoever made them. */
export async function freedBy(work: () => unknown): Promise<Tensor[]> {
  const { dispose } = Tensor.prototype;
  const freed: Tensor[] = [];
  Tensor.prototype.dispose = function (this: Tensor) {
    freed.push(this);
    dispose.call(this);
  };
  try {
    await work();
  } finally {
    Tensor.prototype.dispose = dispose;
  }
  return freed;
}
