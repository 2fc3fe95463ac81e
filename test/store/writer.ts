// A program that rotates the tokens of three providers at once until it is killed, so that their writes
// share commits, and prints the provider and the number of each token that is stored. It stands in for
// a gateway on SQLite, where the PostgreSQL driver must not even be loaded.
import { registerHooks } from 'node:module'
import process from 'node:process'

registerHooks({
  resolve(specifier, context, nextResolve) {
    if (specifier === 'pg') throw new Error('pg was loaded for a SQLite store')
    return nextResolve(specifier, context)
  },
})

const { Secret } = await import('../../src/core/secret.ts')
const { openStore } = await import('../../src/store/open.ts')
const { realClock, realRandom, realTurn } = await import('../../src/system/real.ts')
const { aCredential, aProvider, aToken, rotation } = await import('./records.ts')

const [, , file = '', name = ''] = process.argv
const masterKey = Buffer.from(process.env.MASTER_KEY ?? '', 'base64')
const deps = { clock: realClock, random: realRandom, masterKey, gather: realTurn }
const store = await openStore(deps, `sqlite:${file}`)
await Promise.all(['1', '2', '3'].map(number => rotate(`${name}${number}`)))

async function rotate(providerName: string): Promise<void> {
  const provider = aProvider({ name: providerName })
  let credential = aCredential(provider)
  await store.createProvider(provider, [credential])
  for (let generation = 1; ; generation += 1) {
    const token = aToken({ value: new Secret(`token ${generation}`) })
    const saved = await store.saveCredential(
      { ...credential, generation, token },
      rotation(generation, new Map([['REFRESH', new Secret(`refresh ${generation}`)]])),
    )
    if (saved === null) throw new Error('Lost a race that nobody else ran')
    credential = saved
    process.stdout.write(`${providerName} ${generation}\n`)
  }
}
