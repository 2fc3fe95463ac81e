// Goal: a gateway's own files are made once, for its owner alone, and never half.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { refusal } from '../../test/support/gateway.ts'
import { Secret } from '../core/secret.ts'
import { realRandom } from '../system/real.ts'
import { openStateDir } from './state-dir.ts'

const root = mkdtempSync(path.join(tmpdir(), 'state-'))
after(() => rmSync(root, { recursive: true }))

let count = 0
const newFolder = () => path.join(root, `s${++count}`, 'deep')
const open = (folder: string, more: { masterKey?: Secret; masterKeyFile?: string } = {}) =>
  openStateDir(folder, {
    random: realRandom,
    masterKey: more.masterKey ?? null,
    masterKeyFile: more.masterKeyFile ?? null,
  })
const modeOf = (file: string) => statSync(file).mode & 0o777
const base64 = (bytes: number) => randomBytes(bytes).toString('base64')

test('a new folder gets a key and a token, readable by the owner alone', async () => {
  const folder = newFolder()
  const state = await open(folder)
  assert.equal(state.masterKey.byteLength, 32)
  assert.match(state.adminToken.reveal(), /^[A-Za-z0-9_-]{43}$/)
  assert.equal(modeOf(folder), 0o700)
  assert.deepEqual(readdirSync(folder).sort(), ['admin.token', 'gateway.id', 'master.key'])
  for (const file of readdirSync(folder)) assert.equal(modeOf(path.join(folder, file)), 0o600)
  const again = await open(folder)
  assert.deepEqual(again.masterKey, state.masterKey)
  assert.ok(again.adminToken.equals(state.adminToken))
  assert.equal(again.gatewayId, state.gatewayId)
})

test('gateways that start at once on a new folder agree', async () => {
  const folder = newFolder()
  const states = await Promise.all(Array.from({ length: 20 }, () => open(folder)))
  const keys = new Set(states.map(state => Buffer.from(state.masterKey).toString('hex')))
  const tokens = new Set(states.map(state => state.adminToken.reveal()))
  const ids = new Set(states.map(state => state.gatewayId))
  assert.deepEqual([keys.size, tokens.size, ids.size], [1, 1, 1])
  assert.deepEqual(readdirSync(folder).sort(), ['admin.token', 'gateway.id', 'master.key'])
})

test('what a killed gateway left half written does not stop the next', async () => {
  const folder = newFolder()
  mkdirSync(folder, { recursive: true })
  for (const name of [`master.key.${process.pid}.new`, 'admin.token.1.new'])
    writeFileSync(path.join(folder, name), '')
  assert.equal((await open(folder)).masterKey.byteLength, 32)
})

test('an open folder of the gateway is closed to others; one that all share is refused', async () => {
  const folder = newFolder()
  mkdirSync(folder, { recursive: true })
  chmodSync(folder, 0o755)
  await open(folder)
  assert.equal(modeOf(folder), 0o700)
  const shared = newFolder()
  mkdirSync(shared, { recursive: true })
  chmodSync(shared, 0o1777)
  await assert.rejects(open(shared), refusal('state_dir_unusable', /every user/))
  assert.equal(statSync(shared).mode & 0o7777, 0o1777)
  assert.deepEqual(readdirSync(shared), [])
})

test('a key that was handed in wins, and none is made', async () => {
  const folder = newFolder()
  const key = base64(32)
  const state = await open(folder, { masterKey: new Secret(key) })
  assert.equal(Buffer.from(state.masterKey).toString('base64'), key)
  assert.deepEqual(readdirSync(folder).sort(), ['admin.token', 'gateway.id'])
  const file = path.join(root, 'key.txt')
  writeFileSync(file, `\n${key}\r\n`)
  const fromFile = await open(newFolder(), { masterKeyFile: file })
  assert.equal(Buffer.from(fromFile.masterKey).toString('base64'), key)
})

test('a master key that is none is refused, and not printed', async () => {
  const wrong = [
    '',
    ' ',
    'x',
    base64(31),
    base64(33),
    randomBytes(32).toString('hex'),
    `${base64(32).slice(0, -1)}!`,
  ]
  for (const text of wrong) {
    const given = open(newFolder(), { masterKey: new Secret(text) })
    await assert.rejects(given, refusal('invalid_argument', /OPENSHELL_MASTER_KEY is not base64/))
    if (text.trim() === '') continue
    const file = path.join(root, 'wrong.txt')
    writeFileSync(file, text)
    await assert.rejects(open(newFolder(), { masterKeyFile: file }), error => {
      assert.ok(error instanceof Error)
      return (
        refusal('invalid_argument', /wrong\.txt/)(error) &&
        (text.length < 2 || !error.message.includes(text))
      )
    })
  }
})

test('what cannot be used is named', async () => {
  const missing = open(newFolder(), { masterKeyFile: path.join(root, 'none') })
  await assert.rejects(missing, refusal('state_dir_unusable', /none" \(ENOENT\)/))
  const file = path.join(root, 'file')
  writeFileSync(file, '')
  await assert.rejects(open(file), refusal('state_dir_unusable', /EEXIST|ENOTDIR/))
  await assert.rejects(open(path.join(file, 'below')), refusal('state_dir_unusable', /ENOTDIR/))
  const folder = newFolder()
  await open(folder)
  const token = path.join(folder, 'admin.token')
  writeFileSync(token, '')
  await assert.rejects(open(folder), refusal('state_dir_unusable', /admin\.token": it is empty/))
  rmSync(token)
  mkdirSync(token)
  await assert.rejects(open(folder), refusal('state_dir_unusable', /EISDIR/))
  assert.equal(readFileSync(path.join(folder, 'master.key'), 'utf8').trim().length, 44)
})
