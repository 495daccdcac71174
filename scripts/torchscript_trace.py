"""A diffusers UNet2DModel as a TorchScript module with no device or dtype fixed in it, for export_torchscript.py."""

import copy
import warnings


class ExportError(Exception):
    """What stops an export, in words for its user."""


class DiffusersFails(ExportError):
    """diffusers itself can't run the UNet in a dtype; some of its variants are right in float32 only."""


# --- inputs ---------------------------------------------------------------------------------------------------------
def takes_class_labels(unet) -> bool:
    return unet.class_embedding is not None


def make_inputs(unet, batch: int, height: int, width: int, fractional: bool = False) -> tuple:
    """(sample, timestep [, class_labels]) in the UNet's dtype, on its device; the same ones for the same shape."""
    import torch

    rng = torch.Generator().manual_seed(batch)
    config, dtype = unet.config, unet.dtype
    sample = torch.randn(batch, config.in_channels, height, width, generator=rng, dtype=torch.float64).to(dtype)
    timestep = torch.randint(1, config.num_train_timesteps or 1000, (batch,), generator=rng)
    inputs = [sample, timestep.float() + 0.25 if fractional else timestep]
    if takes_class_labels(unet):
        if config.class_embed_type == "identity":
            width_of_embedding = unet.time_embedding.linear_2.out_features
            inputs.append(torch.randn(batch, width_of_embedding, generator=rng).to(dtype))
        else:
            inputs.append(torch.randint(0, config.num_class_embeds or 1000, (batch,), generator=rng))
    return tuple(x.to(unet.device) for x in inputs)


def sizes_to_try(unet) -> list[tuple[int, int]]:
    """Small, wide, and the model's own, all divisible by what its blocks halve."""
    unit = 2 ** (len(unet.config.block_out_channels) - 1)
    sizes = [(4 * unit, 4 * unit), (2 * unit, 6 * unit)]
    own = unet.config.sample_size
    if own is not None:
        sizes.append((own, own) if isinstance(own, int) else tuple(own))
    return sizes


# --- tracing --------------------------------------------------------------------------------------------------------
def trace(unet, dtype):
    """The trace of a copy in `dtype`, with a forward that gives the tensor alone. Its parameters keep their names."""
    import torch
    from diffusers import UNet2DModel

    if takes_class_labels(unet):

        class ExportedUNet2DModel(UNet2DModel):
            def forward(self, sample, timestep, class_labels):
                return super().forward(sample, timestep, class_labels, return_dict=False)[0]

    else:

        class ExportedUNet2DModel(UNet2DModel):
            def forward(self, sample, timestep):
                return super().forward(sample, timestep, return_dict=False)[0]

    # The type's name inside the file; a local class's own is no name TorchScript can write.
    ExportedUNet2DModel.__module__, ExportedUNet2DModel.__qualname__ = "diffusers", "UNet2DModel"
    exported = copy.deepcopy(unet).to(dtype)
    exported.__class__ = ExportedUNet2DModel
    height, width = sizes_to_try(unet)[1]
    with torch.no_grad(), warnings.catch_warnings():
        # The conditions that the tracer warns of are assertions, and choices that don't change the result.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        try:
            inputs = make_inputs(exported, 2, height, width)
            return torch.jit.trace(exported, inputs, check_trace=False, _store_inputs=False)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise DiffusersFails(f"diffusers can't run this UNet in {dtype}: {reason}") from error


def methods(module):
    """(name, graph) of every method of every submodule; changing a graph changes the module."""
    for name, sub in module.named_modules():
        for method in sub._c._method_names():
            yield f"{name or 'the UNet'}.{method}", sub._c._get_method(method).graph


def constants(graph) -> list:
    return graph.findAllNodes("prim::Constant", True)


def tensor_in_scope(graph, where: str, floating: bool):
    """A tensor that the method gets, from which a constant's place can ask for the device or the dtype."""
    tensors = [v for v in list(graph.inputs())[1:] if v.type().kind() == "TensorType"]
    floats = [v for v in tensors if (v.type().scalarType() or "") in ("Float", "Double")]
    found = floats or ([] if floating else tensors)
    if not found:
        raise ExportError(f"{where} fixes a {'dtype' if floating else 'device'} and gets no tensor to take it from")
    return found[0]


def replace(graph, constant, kind: str, source, output_type) -> None:
    node = graph.create(kind, [source], 1)
    node.insertBefore(constant)
    node.output().setType(output_type)
    constant.output().replaceAllUsesWith(node.output())
    constant.destroy()


def free_devices(module) -> None:
    """Every constant device becomes that of a tensor in scope."""
    import torch

    for where, graph in methods(module):
        for node in constants(graph):
            if node.output().type().kind() == "DeviceObjType":
                source = tensor_in_scope(graph, where, floating=False)
                replace(graph, node, "prim::device", source, torch._C.DeviceObjType.get())


def free_dtypes(module, other) -> None:
    """Every constant that differs between the float32 and the float64 trace is the model's dtype; it becomes that of a
    tensor in scope."""
    import torch

    code = {torch.float32: 6, torch.float64: 7}
    for (where, graph), (_, other_graph) in zip(methods(module), methods(other), strict=True):
        nodes, other_nodes = constants(graph), constants(other_graph)
        if len(nodes) != len(other_nodes):
            raise ExportError(f"{where} does different things in float32 and float64")
        for node, twin in zip(nodes, other_nodes):
            value, twin_value = node.output().toIValue(), twin.output().toIValue()
            if isinstance(value, torch.Tensor):
                if value.dtype != twin_value.dtype or not torch.equal(value, twin_value):
                    raise ExportError(f"{where} holds a constant tensor that depends on the dtype")
            elif value != twin_value:
                if (value, twin_value) != (code[torch.float32], code[torch.float64]):
                    raise ExportError(f"{where} holds {value!r} in float32 and {twin_value!r} in float64")
                source = tensor_in_scope(graph, where, floating=True)
                replace(graph, node, "prim::dtype", source, torch._C.IntType.get())
