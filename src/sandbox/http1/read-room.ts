const READ_BYTES_MAX = 65_536
/** Bytes that are kept share memory, so that keeping some costs a copy and no allocation. */
const SLAB_BYTES = 131_072

/**
 * One buffer that all connections read into, one after the other: Node would otherwise make one of
 * 64 KiB for each read. What was read is there within the call that tells of it; whoever needs it for
 * longer keeps it.
 */
export class ReadRoom {
  readonly buffer = Buffer.allocUnsafeSlow(READ_BYTES_MAX)
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
  #used = 0

  /** A copy that stays. */
  keep(bytes: Uint8Array): Buffer {
    if (bytes.length > SLAB_BYTES / 4) return Buffer.from(bytes)
    if (bytes.length > SLAB_BYTES - this.#used) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
      this.#used = 0
    }
    const start = this.#used
    this.#used += bytes.length
    this.#slab.set(bytes, start)
    return this.#slab.subarray(start, this.#used)
  }
}
