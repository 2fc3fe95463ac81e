// A program that rotates a token until it is killed, and prints the number of each that is stored.
// It stands in for a gateway on SQLite, where the PostgreSQL driver must not even be loaded.
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
const { realClock, realRandom } = await import('../../src/system/real.ts')
const { aCredential, aProvider, aToken, rotation } = await import('./records.ts')

const [, , file = '', name = ''] = process.argv
const masterKey = Buffer.from(process.env.MASTER_KEY ?? '', 'base64')
const deps = { clock: realClock, random: realRandom, masterKey }
const store = await openStore(deps, `sqlite:${file}`)
const provider = aProvider({ name })
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
  process.stdout.write(`${generation}\n`)
}
