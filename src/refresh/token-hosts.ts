import type { Clock } from '../system/clock.ts'

/** Attempts at one host at a time. */
const PER_HOST_MAX = 16

/** So many credentials in a row must fail at a host before it counts as down: one may be its own fault. */
const FAILING_MAX = 3

/** How often a host that is down is tried, however many credentials wait for it. */
const PROBE_MS = 2_000

/** What an attempt tells of the host: it is in trouble, it answered, or neither, when it was not asked. */
interface HostReport<T> {
  readonly value: T
  readonly isInTrouble: boolean | null
}

/**
 * Keeps order at the token hosts. Each has a cap of its own, so that a slow one holds up no other, and a
 * circuit: while it is down, one attempt goes out every two seconds and the others wait in line; its
 * first answer lets all of them go.
 */
export interface TokenHosts {
  /**
   * Runs `work` for a credential when its turn at the host has come. Null when the host is down and
   * the credential would rather be told than wait for it to come back.
   */
  run<T>(visitor: Visitor, work: () => Promise<HostReport<T>>): Promise<T | null>
  /** The hosts that are down now. */
  down(): readonly string[]
  /** From now on nobody waits: whoever stands in line goes on at once, to find that it is over. */
  release(): void
}

/** A credential that comes to a host. */
interface Visitor {
  readonly host: string
  readonly credential: string
  /** Whether it stands in line while the host is down. */
  readonly isPatient: boolean
}

/** One in line: it is told whether its turn has come, or the host gone down. */
interface Waiting {
  readonly isPatient: boolean
  readonly turn: (isTurn: boolean) => void
}

interface Host {
  busy: number
  line: Waiting[]
  /** Credentials that failed since the host answered last. */
  readonly failing: Set<string>
  lastStartMs: number
  isTimerSet: boolean
}

/** Builds the order at the token hosts. `onChange` is called when a host goes down or comes back. */
export function createTokenHosts(
  clock: Clock,
  onChange: (change: { readonly host: string; readonly isDown: boolean }) => void,
): TokenHosts {
  const hosts = new Map<string, Host>()
  const released = new AbortController()

  const hostOf = (name: string): Host => {
    const known = hosts.get(name)
    if (known !== undefined) return known
    const host: Host = {
      ...{ busy: 0, line: [], failing: new Set<string>(), isTimerSet: false },
      lastStartMs: Number.NEGATIVE_INFINITY,
    }
    hosts.set(name, host)
    return host
  }

  const admit = (host: Host): void => {
    if (isDown(host)) {
      // The next probe is one of a credential that has not failed, for what fails may be the others'.
      const [first, ...others] = host.line.filter(one => !one.isPatient)
      for (const one of others) one.turn(false)
      const patient = host.line.filter(one => one.isPatient)
      host.line = first === undefined ? patient : [first, ...patient]
    }
    while (host.line.length > 0) {
      const waitMs = released.signal.aborted ? 0 : waitOf(host, clock.monotonicMs())
      if (waitMs > 0) {
        if (waitMs !== Infinity) admitLater(host, waitMs)
        return
      }
      host.busy += 1
      host.lastStartMs = clock.monotonicMs()
      host.line.shift()?.turn(true)
    }
  }

  const admitLater = (host: Host, waitMs: number): void => {
    if (host.isTimerSet) return
    host.isTimerSet = true
    void clock.sleep(waitMs, released.signal).then(() => {
      host.isTimerSet = false
      admit(host)
    })
  }

  const settle = (name: string, credential: string, isInTrouble: boolean | null): void => {
    const host = hostOf(name)
    const wasDown = isDown(host)
    host.busy -= 1
    if (isInTrouble === true) host.failing.add(credential)
    else if (isInTrouble === false) host.failing.clear()
    if (isDown(host) !== wasDown) onChange({ host: name, isDown: !wasDown })
    admit(host)
    const isIdle = host.busy === 0 && host.line.length === 0 && host.failing.size === 0
    if (isIdle && hosts.get(name) === host) hosts.delete(name)
  }

  return {
    async run({ host: name, credential, isPatient }, work) {
      const host = hostOf(name)
      const turn = Promise.withResolvers<boolean>()
      host.line.push({ isPatient, turn: turn.resolve })
      admit(host)
      if (!(await turn.promise)) return null
      let isInTrouble: boolean | null = null
      try {
        const report = await work()
        isInTrouble = report.isInTrouble
        return report.value
      } finally {
        settle(name, credential, isInTrouble)
      }
    },
    down: () => [...hosts].flatMap(([name, host]) => (isDown(host) ? [name] : [])),
    release() {
      released.abort()
      for (const host of hosts.values()) admit(host)
    },
  }
}

function isDown(host: Host): boolean {
  return host.failing.size >= FAILING_MAX
}

/** How long the first in line has to wait; Infinity when someone has to leave first. */
function waitOf(host: Host, nowMs: number): number {
  if (isDown(host)) return Math.max(0, host.lastStartMs + PROBE_MS - nowMs)
  return host.busy < PER_HOST_MAX ? 0 : Infinity
}
