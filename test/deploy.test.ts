// Goal: what is deployed is what the program understands: flags, ports, paths and keys, and no secret is
// in the files. Method: read the files, and hold them against the sources and the real command line.
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { parse, parseAllDocuments } from 'yaml'
import { START_DEFAULTS } from '../src/cli/gateway.ts'
import { parsePostgresUrl } from '../src/store/postgres-url.ts'
import { shellWords } from './support/shell-words.ts'
import { understand } from './support/understand.ts'

const root = path.dirname(import.meta.dirname)
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8')

const PORT = START_DEFAULTS.listen.split(':')[1]
const CHART = 'deploy/helm/openshell'
const templates = globSync(`${CHART}/templates/*.yaml`, { cwd: root })

/** A template as YAML: lines of the template language alone are left out, values stand in for the rest. */
function plain(file: string): string {
  return read(file)
    .split('\n')
    .filter(line => !/^\s*\{\{-.*\}\}$/.test(line))
    .map(line => line.replace(/"\{\{.*\}\}"|\{\{.*?\}\}/g, match => valueBehind(match)))
    .join('\n')
}

function valueBehind(template: string): string {
  if (template.includes('openshell.store')) return STORE
  const name = /\.Values\.([\w.]+)/.exec(template)?.[1] ?? ''
  const value = name.split('.').reduce<unknown>(memberOf, parse(read(`${CHART}/values.yaml`)))
  return typeof value === 'string' || typeof value === 'number' ? String(value) : 'value'
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}

/** The template of the store's URL with plain values in it. */
const STORE = (/^postgres:.*$/m.exec(read(`${CHART}/templates/_names.tpl`))?.[0] ?? '')
  .replace('{{ .port }}', '5432')
  .replace('{{ .poolMax }}', '10')
  .replace('{{ .sslmode }}', 'verify-full')
  .replace('{{ $ca }}', '')
  .replaceAll(/\{\{ \.(\w+) \}\}/g, '$1')

/** The members with this name, wherever they are. */
function find(value: unknown, name: string): readonly unknown[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => [
    ...(key === name ? [inner] : []),
    ...find(inner, name),
  ])
}

const words = (value: unknown): readonly string[] => {
  assert.ok(Array.isArray(value) && value.every(one => typeof one === 'string'))
  return value
}

const deployment = parse(plain(`${CHART}/templates/deployment.yaml`))
const compose: unknown = parse(read('deploy/compose/compose.yaml'), { merge: true })
const dockerfile = read('deploy/docker/Dockerfile')
const unit = read('deploy/systemd/openshell-gateway.service')

const commands: Readonly<Record<string, readonly string[]>> = {
  chart: words(find(deployment, 'args')[0]),
  compose: words(find(compose, 'command')[0]),
  Dockerfile: words(JSON.parse(/^CMD (.*)$/m.exec(dockerfile)?.[1] ?? 'null')),
  unit: shellWords(/^ExecStart=\/usr\/bin\/env openshell (.*)$/m.exec(unit)?.[1] ?? ''),
}

test('every file is YAML, and there is what a chart needs', () => {
  const kinds = templates.map(file => parse(plain(file)).kind)
  assert.deepEqual(kinds.sort(), ['Deployment', 'NetworkPolicy', 'PodDisruptionBudget', 'Service'])
  for (const file of [`${CHART}/Chart.yaml`, `${CHART}/values.yaml`, 'deploy/compose/compose.yaml'])
    for (const document of parseAllDocuments(read(file)))
      assert.deepEqual(document.errors, [], file)
})

for (const [place, command] of Object.entries(commands)) {
  test(`the command of the ${place} is one that the program understands`, async () => {
    assert.deepEqual(command.slice(0, 2), ['gateway', 'start'])
    await understand(command)
    const listen = command[command.indexOf('--listen') + 1]
    assert.equal(listen?.split(':')[1], PORT)
    // Who deploys it lets nobody in without a token.
    assert.ok(!command.includes('--no-auth'))
  })
}

test('the URL of each store is one that the program reads, and holds no password', () => {
  for (const place of ['chart', 'compose']) {
    const command = commands[place] ?? []
    const url = new URL(command[command.indexOf('--store') + 1] ?? '')
    assert.equal(url.password, '', place)
    const file = url.searchParams.get('password_file')
    assert.match(file ?? '', /\/secrets\/database-password$/)
    assert.equal(typeof parsePostgresUrl(url).password, 'function')
  }
})

test('ports and paths are those of the program', () => {
  const http = read('src/gateway/http.ts')
  const probes = ['startupProbe', 'livenessProbe', 'readinessProbe'].map(
    name => find(find(deployment, name)[0], 'path')[0],
  )
  assert.deepEqual(probes, ['/healthz', '/healthz', '/readyz'])
  for (const probe of probes) assert.ok(http.includes(`case '${probe}':`))
  assert.deepEqual(find(deployment, 'containerPort'), [Number(PORT)])
  assert.deepEqual(find(parse(read(`${CHART}/values.yaml`)).service, 'port'), [Number(PORT)])
  assert.ok(dockerfile.includes(`EXPOSE ${PORT}\n`))
  const policy = parse(plain(`${CHART}/templates/networkpolicy.yaml`))
  assert.ok(find(policy.spec.ingress, 'port').includes(Number(PORT)))
  const ports = find(compose, 'ports').flatMap(one => words(one))
  assert.ok(ports.length === 2 && ports.every(one => one.endsWith(`:${PORT}`)))
  assert.ok(ports.every(one => one.startsWith('127.0.0.1:')))
})

test('files that the command names are mounted, each under its name', () => {
  const mounted = words(
    find(find(deployment, 'volumes')[0], 'items').flatMap(one => find(one, 'path')),
  )
  const named = (commands.chart ?? []).join(' ').match(/(?<=\/etc\/openshell\/secrets\/)[\w.-]+/g)
  for (const file of named ?? []) assert.ok(mounted.includes(file), file)
  const secrets = (commands.compose ?? []).join(' ').match(/(?<=\/run\/secrets\/)[\w.-]+/g)
  const given = find(compose, 'secrets').flatMap(one => (Array.isArray(one) ? words(one) : []))
  for (const file of secrets ?? []) assert.ok(given.includes(file), file)
  assert.equal(named?.length, 3)
  assert.equal(secrets?.length, 3)
})

test('no gateway runs as root, or may write where it has nothing to write', () => {
  for (const [name, value] of [
    ['runAsNonRoot', true],
    ['readOnlyRootFilesystem', true],
    ['allowPrivilegeEscalation', false],
  ]) {
    assert.deepEqual(find(deployment, String(name)), [value], String(name))
  }
  assert.match(dockerfile, /^USER 1000:1000$/m)
  assert.match(dockerfile, /^FROM node:24-slim$/m)
  assert.match(unit, /^DynamicUser=yes$/m)
  assert.match(unit, /^ProtectSystem=strict$/m)
  assert.deepEqual(new Set(find(compose, 'read_only')), new Set([true]))
})

test('no secret is in a file', () => {
  const files = globSync('deploy/**/*', { cwd: root, withFileTypes: true }).filter(one =>
    one.isFile(),
  )
  assert.ok(files.length >= 10)
  for (const file of files) {
    const text = readFileSync(path.join(file.parentPath, file.name), 'utf8')
    const long = text.match(/[A-Za-z0-9+/]{40,}={0,2}/g) ?? []
    assert.deepEqual(
      long.filter(one => /\d/.test(one)),
      [],
      file.name,
    )
    assert.doesNotMatch(text, /:\/\/[^/\s:@]+:[^/\s@{]+@/, file.name)
  }
  const values = parse(read(`${CHART}/values.yaml`))
  // What a Secret is called, and its keys; never what is in it.
  assert.deepEqual(Object.keys(values.secret), [
    'name',
    'masterKey',
    'adminToken',
    'databasePassword',
  ])
  assert.deepEqual(Object.values(values.secret).slice(1), [
    'master.key',
    'admin.token',
    'database-password',
  ])
})
