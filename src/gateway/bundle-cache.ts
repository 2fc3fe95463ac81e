import type { Bundle } from '../core/bundle.ts'
import { AppError } from '../core/errors.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'

/** How soon a bundle that could not be built, because the store was away, is tried again. */
const REBUILD_MS = 1_000

const IDLE_MS = 60_000

/** A bundle is made of a handful of rows; whatever takes longer to read them will not come. */
const BUILD_MS_MAX = 3_000

/** How long the store may take before the bundle that stands is answered, as long as its tokens live. */
const PATIENCE_MS = 1_000

/** The bundles that stand, by workspace, built when something changed and when a token in one ends. */
export interface BundleCache {
  /** The workspace's bundle. No token in it is past its end. */
  current(workspace: string): Promise<Bundle>
  /** The bundle that was built last, whatever became of its tokens since; null before the first. */
  newest(workspace: string): Bundle | null
  /** Something that the bundle is made of has changed: builds it anew, if anyone has asked for it. */
  invalidate(workspace: string): void
  /** A provider has a new token, or lost it: builds what it is a part of anew. */
  refreshed(provider: { readonly workspace: string; readonly name: string }): void
  /** Takes bundles back at the instant a token in them ends. Runs until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
}

interface Slot {
  bundle: Bundle | null
  /** When the first token in `bundle` ends. */
  endsAtMs: number
  isDirty: boolean
  /** When a build that failed is tried again. */
  retryAtMs: number
  building: Promise<Bundle> | null
}

interface CacheDeps {
  readonly build: (workspace: string) => Promise<Bundle>
  /** Called when a workspace's revision has changed, before anyone gets the new bundle. */
  readonly onChange: (workspace: string, bundle: Bundle) => void
  readonly clock: Clock
  readonly log: Log
}

/** Builds the cache over a function that builds a workspace's bundle from the store. */
export function createBundleCache(deps: CacheDeps): BundleCache {
  const slots = new Map<string, Slot>()
  let sleeper = new AbortController()

  const slotOf = (workspace: string): Slot => {
    const known = slots.get(workspace)
    if (known !== undefined) return known
    const slot: Slot = {
      bundle: null,
      endsAtMs: Infinity,
      isDirty: false,
      retryAtMs: 0,
      building: null,
    }
    slots.set(workspace, slot)
    return slot
  }

  /** At most one build a workspace; whoever comes meanwhile shares it. */
  const build = (workspace: string): Promise<Bundle> => {
    const slot = slotOf(workspace)
    slot.building ??= rebuild(deps, workspace, slot)
      .catch((error: unknown) => {
        slot.isDirty = true
        slot.retryAtMs = deps.clock.nowMs() + REBUILD_MS
        throw error
      })
      .finally(() => {
        slot.building = null
        sleeper.abort()
      })
    return slot.building
  }

  const rebuildSoon = (workspace: string): void => {
    build(workspace).catch((error: unknown) => {
      deps.log.error('bundle.build_failed', { workspace, error })
    })
  }

  const invalidate = (workspace: string): void => {
    const slot = slots.get(workspace)
    if (slot === undefined) return
    slot.isDirty = true
    rebuildSoon(workspace)
  }

  return {
    async current(workspace) {
      const slot = slotOf(workspace)
      const good = (): Bundle | null => (slot.endsAtMs > deps.clock.nowMs() ? slot.bundle : null)
      const known = good()
      if (known !== null && !slot.isDirty && slot.building === null) return known
      const built = build(workspace)
      return known === null ? built : orStanding(deps.clock, built, good)
    },
    newest: workspace => slots.get(workspace)?.bundle ?? null,
    invalidate,
    refreshed({ workspace, name }) {
      const slot = slots.get(workspace)
      if (slot !== undefined && mayName(slot, name)) invalidate(workspace)
    },
    async run(signal) {
      while (!signal.aborted) {
        sleeper = new AbortController()
        const nowMs = deps.clock.nowMs()
        let waitMs = IDLE_MS
        for (const [workspace, slot] of slots) {
          // A build under way ends the sleep when it is through.
          if (slot.building !== null) continue
          const dueAtMs = slot.isDirty ? slot.retryAtMs : slot.endsAtMs
          if (dueAtMs <= nowMs) rebuildSoon(workspace)
          else waitMs = Math.min(waitMs, dueAtMs - nowMs)
        }
        await deps.clock.sleep(waitMs, AbortSignal.any([signal, sleeper.signal]))
      }
    },
  }
}

/**
 * Without the store, what was built last serves as long as every token in it lives. `standing` is asked
 * when it is wanted, because a store that hangs takes its time to fail.
 */
function orStanding(
  clock: Clock,
  built: Promise<Bundle>,
  standing: () => Bundle | null,
): Promise<Bundle> {
  const over = new AbortController()
  const orKnown = built.catch((error: unknown) => {
    const last = error instanceof AppError ? standing() : null
    if (last !== null) return last
    throw error
  })
  const patience = clock
    .sleep(PATIENCE_MS, over.signal)
    .then(() => (over.signal.aborted ? orKnown : (standing() ?? orKnown)))
  return Promise.race([orKnown, patience]).finally(() => over.abort())
}

/** Whether a provider's token is in the bundle, or missed in it; what is being built may name anyone. */
function mayName({ bundle, isDirty, building }: Slot, providerName: string): boolean {
  if (bundle === null || isDirty || building !== null) return true
  return [...bundle.routes, ...bundle.failures].some(one => one.providerName === providerName)
}

/**
 * A connection that died without a word keeps a question for long; the next try asks over another.
 *
 * @throws AppError `store_unavailable`.
 */
function inTime(clock: Clock, building: Promise<Bundle>): Promise<Bundle> {
  const over = new AbortController()
  const limit = clock.sleep(BUILD_MS_MAX, over.signal).then((): Promise<Bundle> => {
    if (over.signal.aborted) return building
    throw new AppError(
      'store_unavailable',
      'The database did not tell in time what a bundle is made of',
    )
  })
  return Promise.race([building, limit]).finally(() => over.abort())
}

async function rebuild(deps: CacheDeps, workspace: string, slot: Slot): Promise<Bundle> {
  for (;;) {
    slot.isDirty = false
    const built = await inTime(deps.clock, deps.build(workspace))
    const endsAtMs = Math.min(...built.routes.map(route => route.expiresAtMs ?? Infinity))
    // A store that is slow may take longer for one route than the token of another lives.
    if (endsAtMs <= deps.clock.nowMs()) continue
    slot.endsAtMs = endsAtMs
    const isSame = slot.bundle?.revision === built.revision
    const bundle = isSame && slot.bundle !== null ? slot.bundle : built
    slot.bundle = bundle
    if (!isSame) deps.onChange(workspace, bundle)
    // A change that arrived while the store was read makes it read once more; what was read is out
    // by then, so that a storm of changes holds up no push.
    if (!slot.isDirty) return bundle
  }
}
