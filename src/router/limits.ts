/** Every limit of the data path that is not the route's own. */
export interface Limits {
  /** Bodies up to this size are read whole, so that they leave at once with their head. */
  readonly gatheredBytesMax: number
  /** Bodies up to this size are kept for one replay. */
  readonly replayBytesMax: number
  /** A body that must be seen whole before it can be sent may not be larger. */
  readonly bodyBytesMax: number
  /** How much of a refusal is read to judge whether the token is dead. */
  readonly refusalBytesMax: number
  /** First-byte limit of a route that names none. */
  readonly firstByteMs: number
  /** The longest silence within an answer. */
  readonly idleMs: number
  /** How long a request waits for a newer token when its own may not be sent. */
  readonly tokenWaitMs: number
  /** How long after a token's mandatory point requests still wait for a newer one. */
  readonly mandatoryWaitMs: number
  /** A token that dies within this span is not sent any more: it could die on its way. */
  readonly expiryMarginMs: number
}

/** The limits the router runs with. */
export const DEFAULT_LIMITS: Limits = {
  gatheredBytesMax: 64 * 1024,
  replayBytesMax: 4 * 1024 * 1024,
  bodyBytesMax: 64 * 1024 * 1024,
  refusalBytesMax: 64 * 1024,
  firstByteMs: 60_000,
  idleMs: 120_000,
  tokenWaitMs: 10_000,
  mandatoryWaitMs: 2_000,
  expiryMarginMs: 500,
}
