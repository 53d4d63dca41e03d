"""What torch's errors say of the machine: memory that ran out, a GPU that this process has lost."""

from __future__ import annotations

from augsearch.policies import UserError

OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate", "ALLOC_FAILED", "ALLOCATION_FAILED")
"""What CUDA and MPS, CPUs, cuBLAS and cuDNN say, where torch passes it on as it is."""
LOST = ("CUDA error", "HIP error")
"""How errors of the driver begin, ``torch.AcceleratorError`` among them."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the GPU or of the machine."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's own, which is not imported for it
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def gpu_is_lost(error: BaseException) -> bool:
    """Whether this process can do no more on its GPU: what CUDA reports once, it reports from then on."""
    return isinstance(error, RuntimeError) and str(error).startswith(LOST) and not out_of_memory(error)


def does_not_fit(images: int, device: str) -> UserError:
    """What ends a command for whose images, so few at a time, there is not memory enough on ``device``."""
    at_a_time = f"{images} images" if images != 1 else "1 image"
    less = "use a smaller --image-size or network"
    if device == "cuda":
        less += ", or in a search a smaller --workers-per-device, for all trainings on a GPU share its memory"
    return UserError(f"out of memory even with {at_a_time} at a time; {less}")
