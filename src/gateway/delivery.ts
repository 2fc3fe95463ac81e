import type { Bundle } from '../core/bundle.ts'
import type { SandboxRecord } from '../core/provider.ts'
import type { RouterCounts } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import { bundleToWire } from '../wire/bundle.ts'
import { WatchInferenceBundleResponseSchema } from '../wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { GetInferenceBundleResponseSchema } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { EncodedMessage, encodeMessage } from '../wire/grpc.ts'
import { createBundleCache } from './bundle-cache.ts'
import { createRoster, type Reach, type Watcher, withOthers } from './roster.ts'

/** Hands bundles to routers: at once to those that watch, on demand to those that poll. */
export interface Delivery {
  /** The answer to a poll. */
  poll(sandbox: SandboxRecord): Promise<EncodedMessage>
  /** Begins to serve a watching router. */
  watch(sandbox: SandboxRecord, router: Router): WatchSession
  /** The sandbox was deleted: its routers get nothing more. */
  dismiss(sandbox: Pick<SandboxRecord, 'id' | 'workspace'>): void
  /** The sandboxes that have routers here. */
  sandboxIds(workspace: string): readonly string[]
  /** Something that the workspace's bundle is made of has changed. */
  changed(workspace: string): void
  /** A provider has a new token, or its refresh failed. */
  refreshed(provider: { readonly workspace: string; readonly name: string }): void
  /** How many routers here serve each revision, by workspace. */
  counts(): ReadonlyMap<string, RouterCounts>
  /** How far the workspace's bundle has come, at other gateways, too. */
  reach(workspace: string): Promise<Reach>
  /** The reach of every workspace that has routers, by the newest bundle that was built. */
  reaches(): readonly Reach[]
  /** Takes bundles back at the instant a token in them ends. Runs until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
}

/** How a watching router is reached. */
interface Router {
  readonly send: (message: EncodedMessage) => void
  readonly end: () => void
}

/** One watching router. */
interface WatchSession {
  /** The router says which revision it serves; '' for none. It gets what differs from it. */
  serves(revision: string): void
  close(): void
}

/** A push waits for the acknowledgement of the one before, so at most one is on the way. */
interface Member extends Watcher, Router {
  readonly sinceMs: number
  onTheWay: Bundle | null
  /** A revision that the router was sent and did not put to use, because what it has is newer. */
  declined: string | null
}

/** A message that says when it is sent: routers judge by the gateway's clock. */
type Stamped = (sentAtMs: number) => EncodedMessage

/** A bundle's two forms on the wire, encoded once for all who get it. */
interface Encoded {
  readonly answer: Stamped
  readonly push: Stamped
}

/** Builds the delivery over a function that builds a workspace's bundle from the store. */
export function createDelivery(deps: {
  readonly build: (workspace: string) => Promise<Bundle>
  /** Called when a router has acknowledged a push, with the time since the bundle was built. */
  readonly onDelivered: (elapsedMs: number) => void
  /** The workspace's routers at other gateways. */
  readonly elsewhere: (workspace: string) => Promise<readonly RouterCounts[]>
  readonly clock: Clock
  readonly log: Log
}): Delivery {
  const roster = createRoster<Member>(deps.clock)
  const encodings = new WeakMap<Bundle, Encoded>()

  const encodingOf = (bundle: Bundle): Encoded => {
    const known = encodings.get(bundle)
    if (known !== undefined) return known
    const made = encode(bundle)
    encodings.set(bundle, made)
    return made
  }

  const push = (member: Member, bundle: Bundle): void => {
    const isWaiting = member.acknowledged !== null && member.onTheWay === null
    if (!isWaiting || member.acknowledged === bundle.revision) return
    // Or the two would send the same to each other without a pause.
    if (member.declined === bundle.revision) return
    member.onTheWay = bundle
    member.pushedAtMs = deps.clock.monotonicMs()
    member.send(encodingOf(bundle).push(deps.clock.nowMs()))
  }

  const cache = createBundleCache({
    ...deps,
    onChange: (workspace, bundle) => {
      deps.log.info('bundle.changed', { workspace, revision: bundle.revision })
      for (const member of roster.members(workspace)) push(member, bundle)
    },
  })

  const reach = async (workspace: string): Promise<Reach> => {
    const { revision } = await cache.current(workspace)
    return withOthers(roster.reach(workspace, revision), await deps.elsewhere(workspace))
  }

  return {
    async poll({ workspace, id }) {
      const bundle = await cache.current(workspace)
      roster.polled(workspace, id, bundle.revision)
      return encodingOf(bundle).answer(deps.clock.nowMs())
    },
    watch({ workspace, id }, router) {
      const sinceMs = deps.clock.nowMs()
      const member: Member = {
        ...{ ...router, sandboxId: id, sinceMs },
        ...{ acknowledged: null, onTheWay: null, pushedAtMs: null, declined: null },
      }
      const close = roster.add(workspace, member)
      return {
        close,
        serves(revision) {
          acknowledge(deps, member, revision)
          cache.current(workspace).then(
            bundle => push(member, bundle),
            (error: unknown) => deps.log.error('bundle.build_failed', { workspace, error }),
          )
        },
      }
    },
    dismiss({ workspace, id }) {
      roster.forget(workspace, id)
      for (const member of [...roster.members(workspace)]) if (member.sandboxId === id) member.end()
    },
    sandboxIds: roster.sandboxIds,
    counts: roster.counts,
    changed: cache.invalidate,
    refreshed: cache.refreshed,
    reach,
    reaches: () =>
      [...roster.workspaces()].map(place =>
        roster.reach(place, cache.newest(place)?.revision ?? ''),
      ),
    run: cache.run,
  }
}

function acknowledge(
  deps: { readonly clock: Clock; readonly onDelivered: (elapsedMs: number) => void },
  member: Member,
  revision: string,
): void {
  const arrived = member.onTheWay
  member.acknowledged = revision
  member.onTheWay = null
  member.pushedAtMs = null
  if (arrived === null) return
  member.declined = arrived.revision === revision ? null : arrived.revision
  if (member.declined !== null) return
  // A router that came later is not late for what was built before it came.
  deps.onDelivered(deps.clock.nowMs() - Math.max(arrived.generatedAtMs, member.sinceMs))
}

function encode(bundle: Bundle): Encoded {
  const wire = bundleToWire(bundle)
  const answer = GetInferenceBundleResponseSchema
  const push = WatchInferenceBundleResponseSchema
  return {
    answer: stampEach(encodeMessage(answer, wire), sentAtMs => encodeMessage(answer, { sentAtMs })),
    push: stampEach(encodeMessage(push, { bundle: wire }), sentAtMs =>
      encodeMessage(push, { sentAtMs }),
    ),
  }
}

/** All who are sent something in the same millisecond are sent the same bytes. */
function stampEach(bytes: Uint8Array, encodeStamp: (sentAtMs: bigint) => Uint8Array): Stamped {
  const message = new EncodedMessage(bytes)
  let last = { sentAtMs: Number.NaN, message }
  return sentAtMs => {
    if (sentAtMs !== last.sentAtMs) {
      last = { sentAtMs, message: message.with(encodeStamp(BigInt(sentAtMs))) }
    }
    return last.message
  }
}
