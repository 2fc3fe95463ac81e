import { createServer, type Server } from 'node:http'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import type { Random } from '../system/random.ts'
import { createServiceAccounts } from './accounts.ts'
import { createAwsAccounts } from './aws-accounts.ts'
import { createAzureDirectory } from './azure-directory.ts'
import { createFaultList, type FaultList } from './fault-list.ts'
import { createGoogleIdentities } from './google-identities.ts'
import { createIbmAccount } from './ibm-accounts.ts'
import { createIdentityIssuer } from './identity-issuer.ts'
import { createJournal, type Journal } from './journal.ts'
import { createOauthClients } from './oauth-clients.ts'
import type { Lab } from './running-lab.ts'
import { serve } from './serve.ts'
import { createTokenRegister } from './tokens.ts'
import { VENDORS } from './vendors.ts'
import type { World } from './world.ts'

const KEEP_ALIVE_MS = 65_000

/** Where a lab listens, and how long its tokens live. */
export interface LabSetup {
  /** Port 0 takes any free one. */
  readonly listen: { readonly host: string; readonly port: number }
  readonly tokenLifetimeMs: number
}

/** What the lab takes from the outside. It asks no other clock than this one. */
export interface LabDeps {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/**
 * Starts a lab. Its keys are generated now and die with it.
 *
 * @throws AppError `port_taken`, or `invalid_argument` when the address cannot be listened on.
 */
export async function startLab(deps: LabDeps, setup: LabSetup): Promise<Lab> {
  const accounts = await createServiceAccounts(deps.random)
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 })
  const origin = await listen(server, setup.listen)
  const newId = () => Buffer.from(deps.random.bytes(18)).toString('base64url')
  const tokens = createTokenRegister(deps)
  const world: World = {
    origin,
    clock: deps.clock,
    newId,
    tokens,
    tokenLifetimeMs: setup.tokenLifetimeMs,
    accounts,
    googleIdentities: createGoogleIdentities({ origin, newId, accounts }),
    aws: createAwsAccounts({ random: deps.random, tokens }),
    azure: createAzureDirectory({ ...deps, newId }),
    oauthClients: createOauthClients({ clock: deps.clock, newId }),
    ibm: createIbmAccount(newId),
    identities: createIdentityIssuer({
      ...{ issuer: `${origin}/identity`, nowMs: () => deps.clock.nowMs(), newId },
    }),
    openaiKey: new Secret(`sk-lab-${newId()}`),
    anthropicKey: new Secret(`sk-ant-lab-${newId()}`),
  }
  const vendors = VENDORS.map(create => create(world))
  const faults = createFaultList(
    deps,
    vendors.map(vendor => vendor.name),
  )
  const journal = createJournal()
  const lab = labOf(world, { journal, faults, server })
  const service = { ...deps, tokens: world.tokens, vendors, faults, journal, lab }
  server.on('request', (request, response) => {
    serve(service, request, response).catch(error => {
      deps.log.error('call.failed', { error })
      response.destroy()
    })
  })
  return lab
}

function labOf(
  world: World,
  parts: { readonly journal: Journal; readonly faults: FaultList; readonly server: Server },
): Lab {
  const { journal, faults, server } = parts
  const { tokens, accounts, origin } = world
  return {
    origin,
    journal,
    faults,
    tokens: tokens.list,
    revokeTokens: (filter = {}) => tokens.revoke(filter),
    serviceAccountKey: (options = {}) =>
      accounts.keyFile({ ...options, tokenUri: `${origin}/token` }),
    disableServiceAccount: accounts.disable,
    googleCredentials: world.googleIdentities.credentials,
    registerOauthClient: world.oauthClients.register,
    disableOauthClient: world.oauthClients.disable,
    identityToken: world.identities.issue,
    azure: world.azure,
    aws: world.aws,
    ibm: world.ibm,
    openaiKey: () => world.openaiKey,
    anthropicKey: () => world.anthropicKey,
    counts: () => ({ ...journal.totals(), mints: tokens.count() }),
    close() {
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      server.closeAllConnections()
      return closed
    },
  }
}

async function listen(server: Server, { host, port }: LabSetup['listen']): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = `Cannot listen on ${host}:${port}`
      if (error.code === 'EADDRINUSE')
        reject(new AppError('port_taken', `${where}: another program does`, { cause: error }))
      else reject(new AppError('invalid_argument', `${where}: ${error.code}`, { cause: error }))
    })
    server.listen({ host, port }, resolve)
  })
  const address = server.address()
  const boundPort = typeof address === 'object' && address !== null ? address.port : port
  const isEverywhere = host === '0.0.0.0' || host === '::'
  const name = isEverywhere ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return `http://${name}:${boundPort}`
}
