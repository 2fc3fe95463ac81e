import type { Bundle } from '../../src/core/bundle.ts'
import type { ResolvedRoute } from '../../src/core/route.ts'
import type { GatewayHost } from './gateway-host.ts'
import type { Ledger } from './ledger.ts'
import type { Machine } from './machine.ts'
import type { VendorToken } from './vendor-account.ts'

/** Between an instant of the gateway's and the millisecond in which a message leaves. */
const SLACK_MS = 5

/** A build of a bundle that has begun may still go out; one that begins later may not. */
const BUILD_MS = 2_000

/** A bundle has arrived at a router: what was in it when the gateway sent it? */
export function checkBundle(
  ledger: Ledger,
  bundle: Bundle,
  sent: {
    readonly atMs: number
    readonly wallMs: number
    /** When the gateway's store was last in trouble. */
    readonly storeTroubleAtMs: number
  },
): void {
  for (const route of bundle.routes) {
    const { expiresAtMs, providerName } = route
    if (expiresAtMs !== null && expiresAtMs <= sent.wallMs - SLACK_MS) {
      const lateMs = sent.wallMs - expiresAtMs
      ledger.violate(
        'no expired token is in a bundle',
        `the token of "${providerName}" had ended ${lateMs} ms before the bundle left`,
      )
    }
    const token = ledger.tokenOf(route.credential.reveal())
    if (token === undefined) continue
    checkDeleted(ledger, token, sent)
  }
}

function checkDeleted(
  ledger: Ledger,
  token: VendorToken,
  sent: { readonly atMs: number; readonly storeTroubleAtMs: number },
): void {
  const deletedAtMs = ledger.deletedAtMs(token.account)
  if (deletedAtMs === undefined || ledger.providerOf(token.account) !== undefined) return
  const sinceMs = Math.max(deletedAtMs, sent.storeTroubleAtMs)
  if (sent.atMs - sinceMs <= BUILD_MS) return
  ledger.violate(
    'a deleted provider never returns',
    `${token.value} was in a bundle ${sent.atMs - deletedAtMs} ms after its provider was deleted`,
  )
}

/** A router puts a bundle to use in place of another: no token in it may be older. */
export function checkSwap(
  ledger: Ledger,
  router: string,
  { before, after }: { readonly before: Bundle | null; readonly after: Bundle },
): void {
  for (const route of after.routes) {
    const previous = before?.routes.find(one => one.name === route.name)
    const [old, fresh] = [previous, route].map(one => tokenOf(ledger, one))
    if (old === undefined || fresh === undefined || old.account !== fresh.account) continue
    const [oldCommit = -1, freshCommit = -1] = [old, fresh].map(one => ledger.commitOf(one))
    if (freshCommit >= oldCommit) continue
    ledger.violate(
      'the newest generation wins',
      `${router} went back from ${old.value} to ${fresh.value}`,
    )
  }
}

/** A router sends a request upstream: is the token in it its provider's, and alive? */
export function checkUse(
  ledger: Ledger,
  use: {
    readonly token: VendorToken | undefined
    readonly apiHost: string
    readonly router: Machine
    readonly gateways: readonly GatewayHost[]
  },
): void {
  const { token, apiHost, router, gateways } = use
  if (token === undefined || token.account.apiHost !== apiHost) {
    ledger.violate(
      'only a token of the provider is sent to its vendor',
      `${router.name} sent ${token?.value ?? 'what is no token'} to ${apiHost}`,
    )
    return
  }
  const nowMs = router.schedule.nowMs
  if (nowMs <= token.statedEndMs + ledger.disagreementMs) return
  // Clocks that were set while the token lived may disagree about its end.
  const machines = [router, ...gateways.map(({ machine }) => machine)]
  const disturbedAtMs = Math.max(...machines.map(machine => machine.disturbedAtMs))
  if (disturbedAtMs >= token.issuedAtMs) return
  ledger.violate(
    'no expired token is used',
    `${router.name} sent ${token.value} ${nowMs - token.statedEndMs} ms after its end`,
  )
}

function tokenOf(ledger: Ledger, route: ResolvedRoute | undefined): VendorToken | undefined {
  return route === undefined ? undefined : ledger.tokenOf(route.credential.reveal())
}
