/** Chance, handed in, with two faces. */
export interface Random {
  /** Uniform in [0, 1), for jitter. */
  fraction(): number
  /** `count` unpredictable bytes, for ids, nonces and keys. */
  bytes(count: number): Uint8Array
}
