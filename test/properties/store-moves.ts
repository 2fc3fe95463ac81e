import fc from 'fast-check'

export const NAMES = ['one', 'two'] as const

/** How long a claim holds. */
export const CLAIM_MS = 30_000

/** What a gateway does next. `gateway` is which of the two; `stale` takes an old reading for it. */
export type Move =
  | { readonly kind: 'wait'; readonly ms: number }
  | {
      readonly kind: 'create'
      readonly name: Name
      readonly gateway: Gateway
      readonly text: string
    }
  | { readonly kind: 'delete'; readonly name: Name; readonly gateway: Gateway }
  | {
      readonly kind: 'update'
      readonly name: Name
      readonly gateway: Gateway
      readonly text: string
      readonly reading: number
      readonly replaces: boolean
    }
  | {
      readonly kind: 'stage'
      readonly name: Name
      readonly gateway: Gateway
      readonly text: string
      readonly reading: number
    }
  | { readonly kind: 'claimDue'; readonly gateway: Gateway; readonly limit: number }
  | {
      readonly kind: 'claimOne'
      readonly name: Name
      readonly gateway: Gateway
      readonly reading: number
    }
  | { readonly kind: 'release'; readonly gateway: Gateway }
  | {
      readonly kind: 'save'
      readonly name: Name
      readonly gateway: Gateway
      readonly text: string
      readonly reading: number
      readonly dueInMs: number | null
      readonly change: 'none' | 'nothing' | 'rotated' | 'promoted' | 'dropped'
    }
/** The providers that the gateways deal with. */
export type Name = (typeof NAMES)[number]
/** Which of the two. */
export type Gateway = 0 | 1

const name = fc.constantFrom(...NAMES)
const gateway = fc.constantFrom<Gateway>(0, 1)
const text = fc.stringMatching(/^[a-z]{1,6}$/)
/** How many readings ago: 0 is the newest. */
const reading = fc.constantFrom(0, 0, 1, 1, 2, 4)
/** Any move. */
export const move: fc.Arbitrary<Move> = fc.oneof(
  fc.record({
    kind: fc.constant('wait' as const),
    ms: fc.constantFrom(1, 1_000, CLAIM_MS, 3_600_000),
  }),
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('create' as const), name, gateway, text }),
  },
  fc.record({ kind: fc.constant('delete' as const), name, gateway }),
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('update' as const),
      ...{ name, gateway, text, reading, replaces: fc.boolean() },
    }),
  },
  fc.record({ kind: fc.constant('stage' as const), name, gateway, text, reading }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('claimDue' as const),
      gateway,
      limit: fc.integer({ min: 1, max: 3 }),
    }),
  },
  fc.record({ kind: fc.constant('claimOne' as const), name, gateway, reading }),
  fc.record({ kind: fc.constant('release' as const), gateway }),
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('save' as const),
      ...{ name, gateway, text, reading },
      dueInMs: fc.option(fc.constantFrom(0, 1_000, 3_600_000)),
      change: fc.constantFrom('none', 'nothing', 'rotated', 'rotated', 'promoted', 'dropped'),
    }),
  },
)
