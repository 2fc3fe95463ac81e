import type { Fetch, FetchRequest, FetchResponse } from '../../src/system/fetch.ts'
import type { Heard, Ledger } from './ledger.ts'
import type { Life } from './machine.ts'
import { beginAsking, endAsking } from './mint-rules.ts'
import type { Network } from './network.ts'
import type { Reaction, Vendor } from './vendor.ts'
import type { Account } from './vendor-account.ts'

/** What a gateway's calls to token endpoints pass through. */
export interface TokenCallDeps {
  readonly network: Network
  readonly ledger: Ledger
  /** By host. */
  readonly vendors: ReadonlyMap<string, Vendor>
  /** Called when an answer is about to reach the gateway, which may die at that moment. */
  readonly onAnswer: () => void
}

/** HTTP from a gateway's process to the pretend vendors. */
export function tokenCalls(deps: TokenCallDeps, life: Life): Fetch {
  return request =>
    new Promise((resolve, reject) => {
      const vendor = deps.vendors.get(new URL(request.url).host)
      if (vendor === undefined) throw new TypeError(`Nobody at ${request.url}`)
      call(deps, { life, request, vendor, resolve, reject })
    })
}

interface Call {
  readonly life: Life
  readonly request: FetchRequest
  readonly vendor: Vendor
  readonly resolve: (response: FetchResponse) => void
  readonly reject: (error: Error) => void
}

function call(deps: TokenCallDeps, { life, request, vendor, resolve, reject }: Call): void {
  const { network, ledger } = deps
  const { schedule } = life.machine
  const credentials = vendor.read(request)
  if (credentials === null) throw new TypeError('A request that no account could have sent')
  const { account, material } = credentials
  const dealings = ledger.dealingsWith(account)
  ledger.trace.note(`account ${account.id} asked by ${life.machine.name}`)
  const asking = beginAsking(ledger, dealings, { material, life, atMs: schedule.nowMs })
  let isOver = false
  const settle = (heard: Pick<Heard, 'means' | 'retryAfterMs'>, end: () => void): void => {
    if (isOver) return
    isOver = true
    request.signal.removeEventListener('abort', abort)
    deps.onAnswer()
    if (!life.isAlive) {
      dealings.underWay.delete(asking)
      return
    }
    const now = { material, life, atMs: schedule.nowMs, wallMs: life.judgesBy.nowMs() }
    endAsking(ledger, asking, { ...heard, ...now })
    end()
  }
  const lost = (code: string): void =>
    settle(TROUBLE, () => reject(Object.assign(new Error(code), { code })))
  const abort = (): void => lost('ABORTED')
  const arrive = (): void => {
    const reaction = vendor.react(request, schedule.nowMs)
    ledger.trace.note(`${vendor.host} ${described(reaction)} account ${account.id}`)
    if (reaction.kind === 'answer' && reaction.token !== null) ledger.minted(reaction.token)
    checkSpent(ledger, { account, material, life })
    if (reaction.kind === 'silence') return
    network.send(vendor.machine, life.machine, () => {
      if (reaction.kind !== 'answer')
        lost(reaction.kind === 'refused' ? 'ECONNREFUSED' : 'ECONNRESET')
      else settle(reaction, () => resolve(toResponse(reaction)))
    })
  }
  request.signal.addEventListener('abort', abort, { once: true })
  const sending = network.send(life.machine, vendor.machine, arrive)
  if (sending === 'refused') {
    schedule.after(1, () => life.machine.receive(() => lost('ECONNREFUSED')))
  }
}

const TROUBLE = { means: 'T', retryAfterMs: 0 } as const

/** A refresh token may come once more after it was spent, while nobody knows that it was. */
function checkSpent(
  ledger: Ledger,
  {
    account,
    material,
    life,
  }: {
    readonly account: Account
    readonly material: string
    readonly life: Life
  },
): void {
  const spent = account.refreshTokens.get(material)
  const isRevoked = !account.takes(material)
  if (spent === undefined || spent.replays === 0) return
  const tell = (what: string): void =>
    ledger.violate(
      'no refresh token is spent beyond the rule',
      `${life.machine.name} sent ${material} of account ${account.id} again: ${what}`,
    )
  const standing = ledger.providerOf(account)
  // Before it is stored nobody but the person who adds it knows what becomes of it.
  if (standing === undefined) return
  // A person who orders it takes the risk, and where the family is revoked there is none.
  const { commands } = ledger.dealingsWith(account)
  const isOrdered = [...commands].some(({ kind }) => kind === 'rotate' || isRevoked)
  if (isOrdered) {
    spent.replays = 0
    return
  }
  if (spent.replays > 1) tell(`${spent.replays} times after it was spent`)
  const isStored = [...standing.record.material.values()].some(
    secret => secret.reveal() === spent.successor,
  )
  if (isStored) tell('its successor is stored')
}

function described(reaction: Reaction): string {
  if (reaction.kind !== 'answer') return `gives ${reaction.kind} to`
  return `answers ${reaction.status} ${reaction.token?.value ?? reaction.means} to`
}

function toResponse(reaction: Reaction & { readonly kind: 'answer' }): FetchResponse {
  const { status, headers, body } = reaction
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(body)
  }
  return { status, headers, body: chunks() }
}
