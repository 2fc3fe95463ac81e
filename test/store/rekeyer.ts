// A program that rekeys a SQLite store and prints a line after each batch, until it is killed.
import process from 'node:process'
import { openOperations } from '../../src/store/operations.ts'
import { realClock, realRandom } from '../../src/system/real.ts'

const [, , file = ''] = process.argv
const keys = (process.env.MASTER_KEYS ?? '').split(',').map(key => Buffer.from(key, 'base64'))
const deps = { clock: realClock, random: realRandom, masterKey: async () => keys }
const operations = await openOperations(deps, `sqlite:${file}`)
const report = await operations.rekey(rewrapped => process.stdout.write(`${rewrapped}\n`))
process.stdout.write(`${report.outcome}\n`)
await operations.close()
