"""torch.randn: below 16 elements torch draws one by one (and keeps the second Box-Muller number for the next call),
from 16 on in vectors; half types and doubles take other paths again."""

import torch
from diffusers.utils.torch_utils import randn_tensor

from common import generator, generators

DTYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}
SHAPES = [[1], [2], [7], [15], [16], [17], [31], [2, 3], [4, 4], [1, 1, 5, 3]]
SEEDS = [0, 1, 42, 2**31 - 1, 2**32 + 5, 2**53 + 1, 2**63 + 12345, 2**64 - 1]
# One generator, several draws: the odd ones leave a number behind.
SEQUENCES = [[[7], [3]], [[1], [1], [1]], [[5], [16], [5]], [[17], [2, 3]], [[3], [4, 5], [3], [16]]]


def record_draws(store) -> None:
    cases = []
    for name, dtype in DTYPES.items():
        for seed in SEEDS:
            for shape in SHAPES if seed in (0, 42, 2**53 + 1) else [[7], [17]]:
                cases.append(case(store, "one", name, seed, [shape], dtype))
        cases.append(case(store, "one", name, 0, [[3, 32, 32]], dtype))
        for shapes in SEQUENCES:
            cases.append(case(store, "sequence", name, 123, shapes, dtype))
        for shape in ([3, 5], [3, 2, 4, 4], [2, 20]):
            seeds = [5, 6, 7][: shape[0]]
            drawn = randn_tensor(tuple(shape), generator=generators(seeds), dtype=dtype)
            cases.append({"kind": "list", "dtype": name, "seeds": seeds, "shapes": [shape],
                          "values": [store.tensor(drawn)]})
        drawn = randn_tensor((2, 3, 4), generator=generators([9]), dtype=dtype)
        cases.append({"kind": "list", "dtype": name, "seeds": [9], "shapes": [[2, 3, 4]],
                      "values": [store.tensor(drawn)]})
    # dtypes in turn from one generator: float and double keep their second number apart
    g = generator(77)
    mixed = [([3], "float32"), ([3], "float64"), ([3], "float32"), ([5], "float64"), ([16], "float32"),
             ([1], "float64")]
    cases.append({"kind": "mixed", "dtype": "mixed", "seeds": ["77"], "shapes": [s for s, _ in mixed],
                  "dtypes": [d for _, d in mixed],
                  "values": [store.tensor(torch.randn(s, generator=g, dtype=DTYPES[d])) for s, d in mixed]})
    store.add("randn", cases)
    store.add("default_seed", str(torch.Generator().initial_seed()))
    store.add("default_generator", {"seed": 1234, "values": default_draws(store)})


def case(store, kind, name, seed, shapes, dtype) -> dict:
    g = generator(seed)
    values = [store.tensor(torch.randn(shape, generator=g, dtype=dtype)) for shape in shapes]
    return {"kind": kind, "dtype": name, "seeds": [str(seed)], "shapes": shapes, "values": values}


def default_draws(store) -> list:
    torch.manual_seed(1234)
    return [store.tensor(torch.randn(shape)) for shape in ([5], [20])]
