"""Writes powers_of_five.h: of each power the 128 bits from its first one on, as Lemire's algorithm wants them."""

from __future__ import annotations

from pathlib import Path

SMALLEST, LARGEST = -65, 65
HEADER = """\
/* Written by make_powers.py: powers of five, each as 128 bits from its first one on, high half first. They are cut off
   below, and negative ones rounded up where the product can be exact. */

#define SMALLEST_POWER ({smallest})
#define LARGEST_POWER {largest}

static const uint64_t FIVES[][2] = {{
{rows}
}};
"""


def bits_of(power: int) -> int:
    """Return 128 bits of a power of five."""
    if power >= 0:
        value = 5**power
        length = value.bit_length()
        return value >> (length - 128) if length > 128 else value << (128 - length)
    divisor = 5**-power
    # Rounded up where the product with a number of 64 bits can be exact (Lemire, section 5).
    return 2 ** (127 + divisor.bit_length()) // divisor + (power >= -27)


def main() -> None:
    """Write the file."""
    found = [bits_of(power) for power in range(SMALLEST, LARGEST + 1)]
    rows = ",\n".join(f"    {{0x{one >> 64:016x}u, 0x{one & (2**64 - 1):016x}u}}" for one in found)
    text = HEADER.format(smallest=SMALLEST, largest=LARGEST, rows=rows)
    (Path(__file__).parent / "powers_of_five.h").write_text(text)


if __name__ == "__main__":
    main()
