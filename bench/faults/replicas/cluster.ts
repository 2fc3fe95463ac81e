import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Secret } from '../../../src/core/secret.ts'
import { type GatewayChannel, openChannel } from '../../../src/wire/client.ts'
import { type CuttingProxy, openCuttingProxy } from '../../../test/support/cutting-proxy.ts'
import { freePort, type Place, type Running, start } from '../../../test/support/programs.ts'
import type { PostgresServer } from './postgres-server.ts'

/** One gateway of several, and its wire to the database. */
export interface Replica {
  readonly name: string
  readonly origin: string
  readonly wire: CuttingProxy
  /** The program that runs now, or ran last. */
  program: Running
  readonly channel: GatewayChannel
  /** Starts its program anew, without waiting for it. */
  spawn(): void
}

/** Gateways over one database. */
export interface Cluster extends AsyncDisposable {
  readonly replicas: readonly Replica[]
  /** Where clients reach them: a list of all. */
  readonly endpoints: string
}

/** Starts gateways that share a database, a master key and an administrator's token, at the same time. */
export async function startCluster(
  place: Place,
  options: {
    readonly count: number
    readonly database: PostgresServer
    readonly allowEndpoints: readonly string[]
  },
): Promise<Cluster> {
  const { count, database, allowEndpoints } = options
  const masterKeyFile = path.join(place.folder, 'master.key')
  const adminTokenFile = path.join(place.folder, 'admin.token')
  writeFileSync(masterKeyFile, randomBytes(32).toString('base64'), { mode: 0o600 })
  writeFileSync(adminTokenFile, randomBytes(32).toString('base64url'), { mode: 0o600 })
  const adminToken = new Secret(readFileSync(adminTokenFile, 'utf8'))
  const replicas: Replica[] = []
  for (let at = 1; at <= count; at += 1) {
    const listen = `127.0.0.1:${await freePort()}`
    const wire = await openCuttingProxy(database.port)
    const command = [
      ...['gateway', 'start', '--listen', listen, '--log-format', 'json'],
      ...['--state-dir', path.join(place.folder, `replica-${at}`)],
      ...['--store', wire.through(database.url)],
      ...['--master-key-file', masterKeyFile, '--admin-token-file', adminTokenFile],
      ...allowEndpoints.flatMap(host => ['--allow-endpoint', host]),
    ]
    const origin = `http://${listen}`
    const channel = openChannel(new URL(origin), {
      ...{ token: () => adminToken, nowMs: () => Date.now(), caPem: null },
    })
    const replica: Replica = {
      ...{ name: `gateway ${at}`, origin, wire, channel },
      program: start(place, command),
      spawn() {
        replica.program = start(place, command)
      },
    }
    replicas.push(replica)
  }
  await Promise.all(replicas.map(({ program }) => program.line('gateway.started')))
  return {
    replicas,
    endpoints: replicas.map(({ origin }) => origin).join(','),
    async [Symbol.asyncDispose]() {
      for (const { program, channel, wire } of replicas) {
        channel.close()
        // One that a failed scenario left stopped could not hear that it shall end.
        program.signal('SIGCONT')
        await program.stop('SIGKILL')
        await wire[Symbol.asyncDispose]()
      }
    },
  }
}
