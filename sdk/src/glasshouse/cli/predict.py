"""``glasshouse predict``: run a model of a verified server on arrays from .npy files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._replacement import replace_file
from .connecting import add_connection_options, connect

if TYPE_CHECKING:
    from .._tensors import Output, Outputs

__all__ = ["add_to"]

_SCHEMA = "glasshouse/prediction/v1"


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "predict",
        help="run a model",
        description="Verify the server, send it arrays, and print what the model gives for them.",
    )
    parser.add_argument("model", metavar="MODEL", help="namespace/name")
    parser.add_argument(
        "--input",
        metavar="[NAME=]FILE",
        action="append",
        required=True,
        help="an array in a .npy file; once for each input, in the model's order or named",
    )
    parser.add_argument("--output", metavar="FILE", help="write the one output to a .npy, or all to a .npz")
    parser.add_argument("--receipt", metavar="FILE", help="ask for a receipt and write it here")
    parser.add_argument("--json", action="store_true", help="print the outputs as JSON")
    add_connection_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    inputs = _read_inputs(arguments.input)
    with connect(arguments) as connection:
        response = connection.predict(arguments.model, inputs, receipt=arguments.receipt is not None)
    if arguments.output is not None:
        _write(Path(arguments.output), response.output)
    if response.receipt is not None:
        replace_file(Path(arguments.receipt), response.receipt.encode())
    if arguments.json:
        print(json.dumps({"schema": _SCHEMA, "outputs": [_describe(each) for each in response.output]}))
    elif arguments.output is None:
        for each in response.output:
            print(f"{each.name}: {each.datatype} {list(each.shape)}")
            print(each.as_numpy())
    return 0


def _read_inputs(given: list[str]) -> Any:
    pairs = [each.rpartition("=") for each in given]
    arrays = [_read_array(path) for _, _, path in pairs]
    names = [name for name, _, _ in pairs if name]
    if names and len(set(names)) != len(pairs):
        raise ValueError("either every --input has a name of its own, or none has one")
    if names:
        return dict(zip(names, arrays, strict=True))
    return arrays


def _read_array(path: str) -> Any:
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as err:
        # numpy takes whatever it does not know for a pickle, and then speaks of that.
        raise ValueError(f"{path} is not a .npy file with one array of numbers") from err
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} is not a .npy file with one array of numbers")
    return array


def _describe(output: Output) -> dict[str, Any]:
    values = [
        item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in output.as_flat()
    ]
    return {"name": output.name, "datatype": output.datatype, "shape": list(output.shape), "data": values}


def _write(path: Path, outputs: Outputs) -> None:
    import io

    import numpy as np

    file = io.BytesIO()
    arrays = {each.name: _without_objects(each) for each in outputs}
    if path.suffix == ".npz":
        np.savez(file, **arrays)
    elif len(arrays) == 1:
        np.save(file, next(iter(arrays.values())), allow_pickle=False)
    else:
        raise ValueError(f"the model has {len(arrays)} outputs: give --output a name that ends in .npz")
    replace_file(path, file.getvalue())


def _without_objects(output: Output) -> Any:
    import numpy as np

    array = output.as_numpy()
    return array.astype(np.bytes_) if array.dtype == object else array
