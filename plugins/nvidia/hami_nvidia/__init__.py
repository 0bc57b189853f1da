"""NVIDIA GPUs for hami: discovery by NVML, HAMi's request names, and the interposer that enforces a share."""
