import type { Store } from '../../src/store/store.ts'
import type { Ledger } from './ledger.ts'

/** A call to the store that is about to be made. */
export interface StoreCall {
  readonly method: string
  readonly args: readonly unknown[]
  readonly isWrite: boolean
  readonly work: () => Promise<unknown>
}

const WRITES =
  /^(create|update|stage|delete|claim|save|renew|put|release|keep|configure|remove|add|announce)/

/** The same store, each of whose calls passes through `around`. */
export function guardStore(store: Store, around: (call: StoreCall) => Promise<unknown>): Store {
  return new Proxy(store, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function' || typeof name !== 'string') return method
      const isWrite = WRITES.test(name)
      return (...args: unknown[]) => {
        const work = async (): Promise<unknown> => Reflect.apply(method, target, args)
        return around({ method: name, args, isWrite, work })
      }
    },
  })
}

/** The id of the provider or sandbox that a call writes; '' where the call does not tell. */
export function idIn([written]: readonly unknown[]): string {
  if (typeof written !== 'object' || written === null) return ''
  const id = 'providerId' in written ? written.providerId : 'id' in written ? written.id : ''
  return String(id)
}

/** Whose store is observed, and how what is read for that is read. */
interface Observation {
  /** What the gateway is called in the store. */
  readonly by: string
  readonly quietly: (work: () => Promise<void>) => Promise<void>
}

/**
 * The same store; each write that went through is told to the ledger, whoever hears of it. What is
 * read for that is read `quietly`: the simulated disk has no part in it.
 */
export function observedStore(ledger: Ledger, store: Store, { by, quietly }: Observation): Store {
  const read = (id: string): Promise<void> =>
    quietly(async () => {
      const record = await store.getProviderById(id)
      const [credential = null] = await store.listCredentials(id)
      if (record !== null) ledger.committed(id, { record, credential })
    })
  const note = (name: string, isDone: boolean): void =>
    ledger.trace.note(`store ${name}${isDone ? '' : ' loses'}`)
  return {
    ...store,
    async createProvider(provider, credentials) {
      await store.createProvider(provider, credentials)
      note('createProvider', true)
      await read(provider.id)
    },
    async updateProvider(provider, content, credentials) {
      const updated = await store.updateProvider(provider, content, credentials)
      note('updateProvider', updated !== null)
      if (updated !== null) await read(provider.id)
      return updated
    },
    async stageProvider(provider, candidate, credential) {
      const staged = await store.stageProvider(provider, candidate, credential)
      note('stageProvider', staged !== null)
      if (staged !== null) await read(provider.id)
      return staged
    },
    async deleteProvider(workspace, name) {
      const deleted = await store.deleteProvider(workspace, name)
      note('deleteProvider', deleted !== null)
      if (deleted !== null) ledger.committed(deleted.id, null)
      return deleted
    },
    async claimDue(claim, limit) {
      const claimed = await store.claimDue(claim, limit)
      note(`claimDue ${claimed.length}`, true)
      for (const one of claimed) ledger.claimed(one, null)
      return claimed
    },
    async claimCredential(claim, credential) {
      const claimed = await store.claimCredential(claim, credential)
      note('claimCredential', claimed !== null)
      if (claimed !== null) ledger.claimed(claimed, credential.version)
      return claimed
    },
    async saveCredential(credential, change) {
      const saved = await store.saveCredential(credential, change)
      note('saveCredential', saved !== null)
      if (saved !== null) ledger.written(saved, { over: credential.version, by })
      else ledger.discarded(credential.providerId)
      const standing = ledger.standing.get(credential.providerId)
      // What was rotated is stored even when the race is lost.
      if (change !== null) await read(credential.providerId)
      else if (saved !== null && standing !== undefined)
        ledger.committed(saved.providerId, { record: standing.record, credential: saved })
      return saved
    },
    async saveRoute(route) {
      const saved = await store.saveRoute(route)
      note('saveRoute', saved !== null)
      if (saved !== null) ledger.routeChanged(route.workspace, { name: route.name, now: saved })
      return saved
    },
    async deleteRoute(workspace, name) {
      const deleted = await store.deleteRoute(workspace, name)
      note('deleteRoute', deleted)
      ledger.routeChanged(workspace, { name, now: null })
      return deleted
    },
    async createSandbox(sandbox) {
      await store.createSandbox(sandbox)
      ledger.sandboxes.set(sandbox.id, sandbox)
    },
    async deleteSandbox(workspace, name) {
      const deleted = await store.deleteSandbox(workspace, name)
      for (const [id, sandbox] of ledger.sandboxes)
        if (sandbox.workspace === workspace && sandbox.name === name) ledger.sandboxes.delete(id)
      return deleted
    },
  }
}
