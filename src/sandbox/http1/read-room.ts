const READ_BYTES_MAX = 65_536
/** Bytes that are kept share memory, so that keeping some costs a copy and no allocation. */
const SLAB_BYTES = 131_072
const SMALL_BYTES = 16_384

/** Memory for what was read and is needed for longer. */
export class ReadRoom {
  /**
   * For all connections, one after the other: Node would otherwise make one of 64 KiB for each read.
   * What was read into it is there within the call that tells of it.
   */
  readonly buffer = Buffer.allocUnsafeSlow(READ_BYTES_MAX)
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
  #used = 0

  /** A copy that stays. */
  keep(bytes: Uint8Array): Buffer {
    if (bytes.length > SMALL_BYTES) return Buffer.from(bytes)
    if (bytes.length > SLAB_BYTES - this.#used) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
      this.#used = 0
    }
    const start = this.#used
    this.#used += bytes.length
    this.#slab.set(bytes, start)
    return this.#slab.subarray(start, this.#used)
  }

  /**
   * The same for bytes that Node has read into memory of their own: large ones stay as they are. Small
   * ones would each pin the rest of a buffer of 64 KiB, which the allocator cannot give to another
   * read.
   */
  keepSmall(bytes: Buffer): Buffer {
    return bytes.length > SMALL_BYTES ? bytes : this.keep(bytes)
  }
}
