// What is measured, side by side: each subject proxies to the same mock upstream.
import path from 'node:path'
import { freePort } from '../../test/support/programs.ts'
import { compileGo } from './native.ts'
import {
  isPresent,
  listening,
  MEASURED_CORE,
  OTHER_CORE,
  type Started,
  said,
  startOn,
} from './processes.ts'
import type { Stage } from './stage.ts'
import type { Upstream } from './upstream.ts'

/** The model that requests name, and the one that the router puts in its place. */
export const PLACEHOLDER_MODEL = 'placeholder'
export const ROUTE_MODEL = 'bench-model'

/** The key that the router injects; made for this, and good for nothing. */
export const ROUTE_KEY = 'bench-key-of-no-vendor'

/** A proxy at work, or the upstream itself. */
export interface Subject {
  readonly name: string
  readonly port: number
  /** 0 when there is nothing in between. */
  readonly pid: number
  /** Whether it puts key and model into the request, as the upstream then wants. */
  readonly isEditing: boolean
  /** Header lines that its requests need besides. */
  readonly headers: readonly string[]
  /** The load generator's options to reach it. */
  readonly words: readonly string[]
  stop(): Promise<void>
}

/** How all subjects of a bench are reached and set up. */
export interface Setting {
  readonly stage: Stage
  readonly upstream: Upstream
  readonly isTlsToAgent: boolean
  /** Whether answers are streams, which a proxy must not hold back. */
  readonly isStreaming: boolean
}

/** A subject that cannot be had here, and why. */
export interface Missing {
  readonly name: string
  readonly reason: string
}

type Start = (setting: Setting) => Promise<Subject | Missing>

/** All subjects, by the name under which a bench asks for them. */
const STARTS = {
  direct: startDirect,
  nginx: setting => startNginx(setting, 'nginx'),
  'nginx unbuffered': setting => startNginx(setting, 'nginx unbuffered'),
  haproxy: startHaproxy,
  go: startGo,
  portkey: startPortkey,
  router: startRouter,
} as const satisfies Readonly<Record<string, Start>>

/** The name of a subject. */
export type SubjectName = keyof typeof STARTS

/** Whether a text names a subject. */
export function isSubjectName(text: string): text is SubjectName {
  return Object.hasOwn(STARTS, text)
}

/** Starts subjects; those that are missing are named with the reason. */
export async function startSubjects(
  names: readonly SubjectName[],
  setting: Setting,
): Promise<{ readonly subjects: readonly Subject[]; readonly missing: readonly Missing[] }> {
  const started: (Subject | Missing)[] = []
  for (const name of names) started.push(await STARTS[name](setting))
  return {
    subjects: started.filter(one => 'port' in one),
    missing: started.filter(one => 'reason' in one),
  }
}

async function startDirect({ upstream, isTlsToAgent }: Setting): Promise<Subject | Missing> {
  if (isTlsToAgent !== upstream.isTls) return { name: 'direct', reason: 'TLS on one side only' }
  const { port } = upstream
  return { ...plain('direct', port), pid: 0, words: tlsWords(isTlsToAgent), stop: async () => {} }
}

async function startNginx(
  setting: Setting,
  name: 'nginx' | 'nginx unbuffered',
): Promise<Subject | Missing> {
  if (!isPresent('nginx')) return { name, reason: 'nginx is not installed' }
  const { stage, upstream, isTlsToAgent } = setting
  const port = await freePort()
  const folder = path.join(stage.folder, name.replace(' ', '-'))
  const { certFile, keyFile, caFile } = stage.certificates
  const tls = `ssl_certificate ${certFile}; ssl_certificate_key ${keyFile}; ssl_protocols TLSv1.3;`
  const config = stage.write(
    path.join(path.basename(folder), 'nginx.conf'),
    `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log warn;
    events { worker_connections 20000; }
    http {
      access_log off; keepalive_requests 1000000000; keepalive_timeout 75s; client_max_body_size 0; client_body_buffer_size 2m;
      ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(kind => `${kind}_temp_path ${folder}/${kind};`).join(' ')}
      upstream mock { server 127.0.0.1:${upstream.port}; keepalive 2000; keepalive_requests 1000000000; }
      server {
        listen 127.0.0.1:${port}${isTlsToAgent ? ' ssl http2' : ''} backlog=4096; ${isTlsToAgent ? tls : ''}
        location / {
          proxy_pass ${upstream.isTls ? 'https' : 'http'}://mock;
          proxy_http_version 1.1; proxy_set_header Connection "";
          proxy_ssl_protocols TLSv1.3; proxy_ssl_trusted_certificate ${caFile};
          ${setting.isStreaming ? 'proxy_buffering off;' : ''}
          ${name === 'nginx' ? '' : 'proxy_request_buffering off;'}
        }
      }
    }`,
  )
  const started = startOn(MEASURED_CORE, ['nginx', '-p', folder, '-c', config])
  return standing(plain(name, port), started, isTlsToAgent)
}

async function startHaproxy(setting: Setting): Promise<Subject | Missing> {
  const name = 'haproxy'
  if (!isPresent('haproxy')) return { name, reason: 'haproxy is not installed' }
  const { stage, upstream, isTlsToAgent } = setting
  const port = await freePort()
  const { bothFile } = stage.certificates
  const config = stage.write(
    'haproxy.cfg',
    `global
  maxconn 4000
  nbthread 1
  ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
  mode http
  timeout client 120s
  timeout server 120s
  timeout connect 10s
  option http-keep-alive
  option http-no-delay
  http-reuse always
frontend agents
  bind 127.0.0.1:${port}${isTlsToAgent ? ` ssl crt ${bothFile} alpn h2,http/1.1` : ''}
  default_backend mock
backend mock
  server mock 127.0.0.1:${upstream.port}${upstream.isTls ? ' ssl verify none' : ''}
`,
  )
  const started = startOn(MEASURED_CORE, ['haproxy', '-db', '-f', config])
  return standing(plain(name, port), started, isTlsToAgent)
}

async function startGo({ stage, upstream, isTlsToAgent }: Setting): Promise<Subject | Missing> {
  const name = 'go'
  const program = compileGo(stage.folder)
  if (program === null) return { name, reason: 'Go is not installed' }
  const port = await freePort()
  const { certFile, keyFile } = stage.certificates
  const started = startOn(MEASURED_CORE, [
    ...[program, '-listen', `127.0.0.1:${port}`],
    ...['-target', `${upstream.isTls ? 'https' : 'http'}://127.0.0.1:${upstream.port}`],
    ...(isTlsToAgent ? ['-cert', certFile, '-key', keyFile] : []),
  ])
  return standing(plain(name, port), started, isTlsToAgent)
}

const portkeyProgram = path.join(
  path.dirname(import.meta.dirname),
  'faults/portkey/node_modules/@portkey-ai/gateway/build/start-server.js',
)

/** Portkey's gateway, which is installed when it is first asked for, speaks plain HTTP to agents. */
async function startPortkey({ upstream, isTlsToAgent }: Setting): Promise<Subject | Missing> {
  const name = 'portkey'
  if (isTlsToAgent || upstream.isTls) return { name, reason: 'measured without TLS only' }
  const { installPortkey } = await import('../faults/portkey.ts')
  if (!(await installPortkey())) return { name, reason: 'it cannot be installed' }
  const port = await freePort()
  const started = startOn(
    MEASURED_CORE,
    [process.execPath, portkeyProgram, '--headless', `--port=${port}`],
    { TRUSTED_CUSTOM_HOSTS: '127.0.0.1', NODE_ENV: 'production' },
  )
  const headers = [
    'x-portkey-provider: openai',
    `x-portkey-custom-host: http://127.0.0.1:${upstream.port}/v1`,
    `authorization: Bearer ${ROUTE_KEY}`,
  ]
  return standing({ ...plain(name, port), headers }, started, false)
}

/** Our released router, with a gateway on the other core that gives it its route. */
async function startRouter(setting: Setting): Promise<Subject> {
  const { stage, upstream, isTlsToAgent } = setting
  const openshell = [process.execPath, stage.executable]
  const gatewayPort = await freePort()
  const environment = {
    HOME: stage.folder,
    OPENSHELL_STATE_DIR: path.join(stage.folder, `state-${gatewayPort}`),
    OPENSHELL_GATEWAY_ENDPOINT: `http://127.0.0.1:${gatewayPort}`,
    NODE_EXTRA_CA_CERTS: stage.certificates.caFile,
    API_KEY: ROUTE_KEY,
  }
  const gateway = startOn(
    OTHER_CORE,
    [
      ...[...openshell, 'gateway', 'start', '--listen', `127.0.0.1:${gatewayPort}`],
      ...['--allow-endpoint', `127.0.0.1:${upstream.port}`],
    ],
    environment,
  )
  await listening(gateway, gatewayPort)
  const baseUrl = `${upstream.isTls ? 'https' : 'http'}://127.0.0.1:${upstream.port}/v1`
  for (const command of [
    [
      ...['provider', 'add', '--type', 'generic', '--name', 'bench', '--credential', 'API_KEY'],
      ...['--config', `BASE_URL=${baseUrl}`],
    ],
    ['inference', 'set', '--provider', 'bench', '--model', ROUTE_MODEL, '--no-verify'],
  ]) {
    await finished(startOn(OTHER_CORE, [...openshell, ...command], environment))
  }
  const port = await freePort()
  const router = startOn(
    MEASURED_CORE,
    [
      ...[...openshell, 'sandbox', 'serve', '--name', 'bench', '-o', 'json'],
      ...['--listen', `127.0.0.1:${port}`],
    ],
    environment,
  )
  await said(router, '"proxyUrl"')
  const stop = async () => {
    await router.stop()
    await gateway.stop()
  }
  const words = isTlsToAgent ? ['--connect', 'inference.local:443', '--tls', 'inference.local'] : []
  return { ...plain('router', port), pid: router.pid, isEditing: true, words, stop }
}

const NO_HEADERS: readonly string[] = []

function plain(name: string, port: number) {
  return { name, port, isEditing: false, headers: NO_HEADERS }
}

async function standing(
  described: ReturnType<typeof plain> & { readonly headers: readonly string[] },
  started: Started,
  isTlsToAgent: boolean,
): Promise<Subject> {
  await listening(started, described.port)
  return { ...described, pid: started.pid, words: tlsWords(isTlsToAgent), stop: started.stop }
}

function tlsWords(isTls: boolean): readonly string[] {
  return isTls ? ['--tls', 'localhost'] : []
}

async function finished(started: Started): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<number | null>()
  started.process.once('close', resolve)
  const code = await promise
  if (code !== 0) throw new Error(`${started.process.spawnargs.join(' ')}:\n${started.output()}`)
}
