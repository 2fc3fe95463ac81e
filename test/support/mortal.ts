import type { Store } from '../../src/store/store.ts'
import type { Fetch } from '../../src/system/fetch.ts'

/** A point in a gateway's life: before or after a call of the store, or of the vendor. */
export type Moment =
  | `${'before' | 'after'} ${MortalCall}`
  /** A request is on the wire and never read. */
  | 'before fetch'
  /** The vendor has done what it was asked for, and nobody hears its answer. */
  | 'after fetch'

type MortalCall = (typeof MORTAL_CALLS)[number]

const MORTAL_CALLS = [
  'claimDue',
  'claimCredential',
  'getProviderById',
  'saveCredential',
  'earliestDueAtMs',
  'renewMisdated',
  'releaseClaims',
  'createProvider',
  'stageProvider',
  'updateProvider',
  'deleteProvider',
] as const

/** When a gateway dies: at the nth time that it comes to a moment, counted from 1. */
export interface Death {
  readonly at: Moment
  readonly nth: number
}

/**
 * One gateway process, as far as the world can tell: once dead it writes nothing, sends nothing and
 * hears nothing more, and whatever it was waiting for never comes.
 */
export interface Life {
  readonly isDead: boolean
  kill(): void
  store(store: Store): Store
  fetch(fetch: Fetch): Fetch
}

/** A life that ends at a moment, or when it is killed. */
export function mortalLife(death: Death | null): Life {
  let isDead = false
  let left = death?.nth ?? 0
  const pass = async (moment: Moment): Promise<void> => {
    if (moment === death?.at && !isDead) {
      left -= 1
      if (left === 0) isDead = true
    }
    if (isDead) await new Promise<never>(() => undefined)
  }
  const mortal =
    <A extends readonly unknown[], R>(name: MortalCall, work: (...parameters: A) => Promise<R>) =>
    async (...parameters: A): Promise<R> => {
      await pass(`before ${name}`)
      const result = await work(...parameters)
      await pass(`after ${name}`)
      return result
    }
  return {
    get isDead() {
      return isDead
    },
    kill() {
      isDead = true
    },
    store: store => ({
      ...store,
      claimDue: mortal('claimDue', store.claimDue),
      claimCredential: mortal('claimCredential', store.claimCredential),
      getProviderById: mortal('getProviderById', store.getProviderById),
      saveCredential: mortal('saveCredential', store.saveCredential),
      earliestDueAtMs: mortal('earliestDueAtMs', store.earliestDueAtMs),
      renewMisdated: mortal('renewMisdated', store.renewMisdated),
      releaseClaims: mortal('releaseClaims', store.releaseClaims),
      createProvider: mortal('createProvider', store.createProvider),
      stageProvider: mortal('stageProvider', store.stageProvider),
      updateProvider: mortal('updateProvider', store.updateProvider),
      deleteProvider: mortal('deleteProvider', store.deleteProvider),
    }),
    fetch: fetch => async request => {
      await pass('before fetch')
      const response = await fetch(request)
      await pass('after fetch')
      return response
    },
  }
}
