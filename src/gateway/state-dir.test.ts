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
import { appendMasterKey } from './master-key-file.ts'
import { openStateDir, type StateDir } from './state-dir.ts'

const root = mkdtempSync(path.join(tmpdir(), 'state-'))
after(() => rmSync(root, { recursive: true }))

let count = 0
const newFolder = () => path.join(root, `s${++count}`, 'deep')
const open = (
  folder: string,
  more: { masterKey?: Secret; masterKeyFile?: string; adminTokenFile?: string } = {},
) =>
  openStateDir(folder, {
    random: realRandom,
    masterKey: more.masterKey ?? null,
    masterKeyFile: more.masterKeyFile ?? null,
    adminTokenFile: more.adminTokenFile ?? null,
  })
const keysOf = async (state: StateDir) =>
  (await state.readMasterKeys()).map(key => Buffer.from(key).toString('base64'))
const modeOf = (file: string) => statSync(file).mode & 0o777
const base64 = (bytes: number) => randomBytes(bytes).toString('base64')

test('a new folder gets a key and a token, readable by the owner alone', async () => {
  const folder = newFolder()
  const state = await open(folder)
  assert.equal((await state.readMasterKeys())[0]?.byteLength, 32)
  assert.match(state.adminToken.reveal(), /^[A-Za-z0-9_-]{43}$/)
  assert.equal(modeOf(folder), 0o700)
  assert.deepEqual(readdirSync(folder).sort(), ['admin.token', 'gateway.id', 'master.key'])
  for (const file of readdirSync(folder)) assert.equal(modeOf(path.join(folder, file)), 0o600)
  const again = await open(folder)
  assert.deepEqual(await keysOf(again), await keysOf(state))
  assert.ok(again.adminToken.equals(state.adminToken))
  assert.equal(again.gatewayId, state.gatewayId)
})

test('gateways that start at once on a new folder agree', async () => {
  const folder = newFolder()
  const states = await Promise.all(Array.from({ length: 20 }, () => open(folder)))
  const keys = new Set((await Promise.all(states.map(keysOf))).flat())
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
  assert.equal((await keysOf(await open(folder))).length, 1)
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
  assert.deepEqual(await keysOf(state), [key])
  assert.deepEqual(readdirSync(folder).sort(), ['admin.token', 'gateway.id'])
  const file = path.join(root, 'key.txt')
  writeFileSync(file, `\n${key}\r\n`)
  const fromFile = await open(newFolder(), { masterKeyFile: file })
  assert.deepEqual(await keysOf(fromFile), [key])
})

test('a file may hold several keys, and is read anew each time', async () => {
  const [old, fresh] = [base64(32), base64(32)]
  const file = path.join(root, 'ring.txt')
  writeFileSync(file, `# since 2026\n${old}\n`)
  const state = await open(newFolder(), { masterKeyFile: file })
  assert.deepEqual(await keysOf(state), [old])
  writeFileSync(file, `# since 2026\n${old}\n\n${fresh}\n`)
  assert.deepEqual(await keysOf(state), [old, fresh])
  writeFileSync(file, `${old}${fresh}`)
  await assert.rejects(
    state.readMasterKeys(),
    refusal('invalid_argument', /ring\.txt is not base64/),
  )
  writeFileSync(file, `${old}\n${fresh.slice(1)}`)
  await assert.rejects(state.readMasterKeys(), refusal('invalid_argument', /^Master key 2 in/))
  writeFileSync(file, Array.from({ length: 9 }, () => base64(32)).join('\n'))
  await assert.rejects(state.readMasterKeys(), refusal('invalid_argument', /^More than 8/))
  const both = await open(newFolder(), { masterKey: new Secret(`${old},${fresh}`) })
  assert.deepEqual(await keysOf(both), [old, fresh])
})

test('a key is appended whole, whether the last line has an end or not', async () => {
  for (const end of ['', '\n']) {
    const key = base64(32)
    const file = path.join(root, 'append.txt')
    writeFileSync(file, `${key}${end}`, { mode: 0o600 })
    await appendMasterKey(file, realRandom)
    const keys = await keysOf(await open(newFolder(), { masterKeyFile: file }))
    assert.deepEqual([keys.length, keys[0], modeOf(file)], [2, key, 0o600])
  }
  const wrong = path.join(root, 'wrong-append.txt')
  writeFileSync(wrong, 'no key')
  await assert.rejects(appendMasterKey(wrong, realRandom), refusal('invalid_argument', /no|not/))
  assert.equal(readFileSync(wrong, 'utf8'), 'no key')
})

test('an admin token that replicas share is taken from its file, and none is made', async () => {
  const file = path.join(root, 'token.txt')
  writeFileSync(file, 'shared-token\n')
  const folder = newFolder()
  const state = await open(folder, { adminTokenFile: file })
  assert.equal(state.adminToken.reveal(), 'shared-token')
  assert.deepEqual(readdirSync(folder).sort(), ['gateway.id', 'master.key'])
  const missing = open(newFolder(), { adminTokenFile: path.join(root, 'none') })
  await assert.rejects(missing, refusal('state_dir_unusable', /none" \(ENOENT\)/))
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
