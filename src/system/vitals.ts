/** What a process takes of its machine, handed in. */
export interface Vitals {
  /** Memory that is resident. */
  residentBytes(): number
  /** User and system time since the process began. */
  cpuSeconds(): number
  /** The 99th percentile of the event loop's delay since this was last asked. */
  loopDelayP99Seconds(): number
}
