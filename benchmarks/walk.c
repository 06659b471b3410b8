/* Four-level walks in a batch, as fast as C makes them: the limit beside which benchmarks/model.py prints ours.
   No reserved bits, no large pages, no sparse memory; the rights of all levels are checked. */

#include <stddef.h>
#include <stdint.h>

#define ADDRESS 0x000FFFFFFFFFF000ull
#define ENTRY(table, address, shift) flat[((table) & ADDRESS) / 8 + ((address) >> (shift) & 511)]

/* Returns how many of `count` addresses were refused; `flat` is memory from address 0, the root table first. */
size_t walk(const uint64_t *flat, const uint64_t *addresses, uint64_t *results, size_t count)
{
    size_t refused = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t address = addresses[i];
        uint64_t top = ENTRY(0, address, 39);
        uint64_t upper = ENTRY(top, address, 30);
        uint64_t lower = ENTRY(upper, address, 21);
        uint64_t leaf = ENTRY(lower, address, 12);
        refused += !(top & upper & lower & leaf & 1);
        results[i] = (leaf & ADDRESS) | (address & 0xFFF);
    }
    return refused;
}
