import type { Clock } from '../system/clock.ts'

/** A router that polls counts as connected for this long after its last poll. */
const POLLER_MS = 75_000

/** A router that is connected for pushes. */
export interface Watcher {
  readonly sandboxId: string
  /** The revision that it said it serves; null before its first word. */
  acknowledged: string | null
  /** When the push was sent that it has not acknowledged yet, on the monotonic clock; else null. */
  pushedAtMs: number | null
}

/** How far a workspace's revision has come. */
export interface Reach {
  readonly workspace: string
  readonly revision: string
  readonly routers: number
  readonly routersCurrent: number
  /** Those of the routers that watch instead of polling. */
  readonly routersWatching: number
  /** The age of the oldest push that waits for its acknowledgement; 0 when none does. */
  readonly oldestPushMs: number
}

/** Who of each workspace's routers is there, and what each serves. */
export interface Roster<Member extends Watcher> {
  /** Adds a watching router; the answer removes it. */
  add(workspace: string, member: Member): () => void
  members(workspace: string): Iterable<Member>
  /** A router fetched a revision by polling. */
  polled(workspace: string, sandboxId: string, revision: string): void
  /** A sandbox is gone; its polls count no more. */
  forget(workspace: string, sandboxId: string): void
  reach(workspace: string, revision: string): Reach
  /** The sandboxes of a workspace's routers. */
  sandboxIds(workspace: string): readonly string[]
  /** How many routers serve each revision, by workspace; '' for none yet. */
  counts(): ReadonlyMap<string, ReadonlyMap<string, number>>
  /** Workspaces with at least one router. */
  workspaces(): Iterable<string>
}

interface Poll {
  readonly revision: string
  readonly atMs: number
}

/** Builds an empty roster. */
export function createRoster<Member extends Watcher>(clock: Clock): Roster<Member> {
  const watching = new Map<string, Set<Member>>()
  const polling = new Map<string, Map<string, Poll>>()

  const freshPolls = (workspace: string): ReadonlyMap<string, Poll> => {
    const polls = polling.get(workspace) ?? new Map<string, Poll>()
    // By the clock that is never set back.
    const oldestMs = clock.monotonicMs() - POLLER_MS
    for (const [sandboxId, poll] of polls) if (poll.atMs < oldestMs) polls.delete(sandboxId)
    if (polls.size === 0) polling.delete(workspace)
    return polls
  }

  const routersOf = (workspace: string) => {
    const members = [...(watching.get(workspace) ?? [])]
    const watchingIds = new Set(members.map(member => member.sandboxId))
    const polls = [...freshPolls(workspace)].filter(([id]) => !watchingIds.has(id))
    return { members, polls }
  }
  const workspaces = () => new Set([...watching.keys(), ...polling.keys()])

  return {
    add(workspace, member) {
      const group = watching.get(workspace) ?? new Set<Member>()
      group.add(member)
      watching.set(workspace, group)
      return () => {
        group.delete(member)
        // A stream may say more than once that it is over, when others have begun a new group.
        if (group.size === 0 && watching.get(workspace) === group) watching.delete(workspace)
      }
    },
    members: workspace => watching.get(workspace) ?? [],
    polled(workspace, sandboxId, revision) {
      const polls = polling.get(workspace) ?? new Map<string, Poll>()
      polls.set(sandboxId, { revision, atMs: clock.monotonicMs() })
      polling.set(workspace, polls)
    },
    forget(workspace, sandboxId) {
      polling.get(workspace)?.delete(sandboxId)
    },
    reach(workspace, revision) {
      const { members, polls } = routersOf(workspace)
      const current =
        members.filter(member => member.acknowledged === revision).length +
        polls.filter(([, poll]) => poll.revision === revision).length
      const nowMs = clock.monotonicMs()
      return {
        ...{ workspace, revision, routersCurrent: current, routersWatching: members.length },
        routers: members.length + polls.length,
        oldestPushMs: Math.max(0, ...members.map(one => nowMs - (one.pushedAtMs ?? nowMs))),
      }
    },
    sandboxIds(workspace) {
      const members = [...(watching.get(workspace) ?? [])].map(member => member.sandboxId)
      return [...new Set([...members, ...freshPolls(workspace).keys()])]
    },
    counts() {
      const all = [...workspaces()].map(workspace => {
        const { members, polls } = routersOf(workspace)
        const revisions = [
          ...members.map(member => member.acknowledged ?? ''),
          ...polls.map(([, poll]) => poll.revision),
        ]
        const groups = Map.groupBy(revisions, revision => revision)
        return [
          workspace,
          new Map([...groups].map(([name, { length }]) => [name, length])),
        ] as const
      })
      return new Map(all)
    },
    workspaces,
  }
}

/** Adds the routers of other gateways. */
export function withOthers(here: Reach, others: readonly ReadonlyMap<string, number>[]): Reach {
  const sum = (counts: readonly number[]) => counts.reduce((all, one) => all + one, 0)
  return {
    ...here,
    routers: here.routers + sum(others.flatMap(counts => [...counts.values()])),
    routersCurrent: here.routersCurrent + sum(others.map(counts => counts.get(here.revision) ?? 0)),
  }
}
