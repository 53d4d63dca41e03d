"""What errors of torch and of the libraries below it mean."""

from __future__ import annotations

import pytest
import torch

from augsearch.trainers.system.device_errors import does_not_fit, gpu_is_lost, out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nAnd so on"),
        torch.OutOfMemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"),
    ],
    ids=str,
)
def test_libraries_say_in_their_own_words_that_memory_ran_out(error: RuntimeError) -> None:
    assert out_of_memory(error)
    assert not gpu_is_lost(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nAnd so on"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"),
        torch.AcceleratorError("HIP error: unspecified launch failure"),
    ],
    ids=str,
)
def test_an_error_of_the_driver_is_one_of_all_that_follows(error: RuntimeError) -> None:
    assert gpu_is_lost(error)
    assert not out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), OSError("CUDA error"), KeyError()]
)
def test_other_errors_are_neither(error: Exception) -> None:
    assert not out_of_memory(error)
    assert not gpu_is_lost(error)


def test_who_shares_a_gpu_is_told_how_to_share_it_with_fewer() -> None:
    assert "--workers-per-device" in str(does_not_fit(2, "cuda"))
    assert str(does_not_fit(1, "cpu")) == (
        "out of memory even with 1 image at a time; use a smaller --image-size or network"
    )
