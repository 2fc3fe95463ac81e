import * as changes from './changes.ts'
import * as configured from './configured.ts'
import * as credentials from './credentials.ts'
import type { StoreContext } from './database.ts'
import * as config from './gateway-config.ts'
import * as secrets from './gateway-secrets.ts'
import { announce, followKeys, underCurrentKey, withdraw } from './master-keys.ts'
import * as profiles from './profiles.ts'
import * as providers from './providers.ts'
import { readClock } from './read-clock.ts'
import * as routers from './router-counts.ts'
import * as routes from './routes.ts'
import * as attachments from './sandbox-providers.ts'
import * as sandboxes from './sandboxes.ts'
import * as standings from './standings.ts'
import type { Store } from './store.ts'
import { orStoreUnavailable } from './trouble.ts'
import * as workspaces from './workspaces.ts'

/** The Store over an open database whose schema stands. One query code serves both databases. */
export function createSqlStore(context: StoreContext): Store {
  const { db, location } = context.database
  const run = <T>(work: () => Promise<T>): Promise<T> =>
    orStoreUnavailable(location, () => underCurrentKey(context, work))
  return {
    createProvider: (provider, rows) =>
      run(() => providers.createProvider(context, provider, rows)),
    getProvider: (workspace, name) => run(() => providers.getProvider(context, workspace, name)),
    getProviderById: id => run(() => providers.getProviderById(context, id)),
    listProviders: (workspace, page) =>
      run(() => providers.listProviders(context, workspace, page)),
    updateProvider: (provider, content, rows) =>
      run(() => providers.updateProvider(context, { provider, content }, rows)),
    stageProvider: (provider, candidate, credential) =>
      run(() => providers.stageProvider(context, { provider, candidate }, credential)),
    deleteProvider: (workspace, name) =>
      run(() => providers.deleteProvider(context, workspace, name)),

    listCredentials: providerId => run(() => credentials.listCredentials(context, providerId)),
    listStandings: (workspace, page) =>
      run(() => standings.listStandings(context, workspace, page)),
    renewMisdated: (claim, which) => run(() => credentials.renewMisdated(context, claim, which)),
    claimDue: (claim, limit) => run(() => credentials.claimDue(context, claim, limit)),
    releaseClaims: owner => run(() => credentials.releaseClaims(context, owner)),
    claimCredential: (claim, credential) =>
      run(() => credentials.claimCredential(context, claim, credential)),
    saveCredential: (credential, change) =>
      run(() => credentials.saveCredential(context, credential, change)),
    configureCredential: credential =>
      run(() => configured.configureCredential(context, credential)),
    removeCredential: credential => run(() => configured.removeCredential(context, credential)),
    keepRotated: (credential, epoch) =>
      run(() => configured.keepRotated(context, credential, epoch)),
    earliestDueAtMs: () => run(() => credentials.earliestDueAtMs(context)),

    getProfile: (workspace, id) => run(() => profiles.getProfile(context, workspace, id)),
    listProfiles: workspace => run(() => profiles.listProfiles(context, workspace)),
    createProfiles: records => run(() => profiles.createProfiles(context, records)),
    saveProfile: profile => run(() => profiles.saveProfile(context, profile)),
    deleteProfile: (workspace, id) => run(() => profiles.deleteProfile(context, workspace, id)),

    getRoute: (workspace, name) => run(() => routes.getRoute(context, workspace, name)),
    listRoutes: workspace => run(() => routes.listRoutes(context, workspace)),
    listRouteWorkspaces: () => run(() => routes.listRouteWorkspaces(context)),
    saveRoute: route => run(() => routes.saveRoute(context, route)),
    deleteRoute: (workspace, name) => run(() => routes.deleteRoute(context, workspace, name)),

    ...placesOf(context, run),
    getGatewaySecret: name => run(() => secrets.getGatewaySecret(context, name)),
    putGatewaySecret: (name, value) => run(() => secrets.putGatewaySecret(context, name, value)),

    announce: gateway => run(() => announce(context, gateway)),
    withdraw: gateway => run(() => withdraw(context, gateway)),

    ping: () => run(() => followKeys(context)),

    isShared: context.database.kind === 'postgres',
    saveRouterCounts: (gateway, counts) =>
      run(() => routers.saveRouterCounts(context, gateway, counts)),
    confirmRouterCounts: gateway => run(() => routers.confirmRouterCounts(context, gateway)),
    listRouterCounts: of => run(() => routers.listRouterCounts(context, of)),
    readClock: () => run(() => readClock(context)),
    countChanges: workspace => run(() => changes.countChanges(context, workspace)),
    readChanges: () => run(() => changes.readChanges(context)),
    followChanges: (since, listener, signal) =>
      changes.followChanges(context, { since, listener }, signal),

    close: () => run(() => db.destroy()),
  }
}

type Run = <T>(work: () => Promise<T>) => Promise<T>

/** The methods for sandboxes, workspaces and what holds for all of them. */
function placesOf(context: StoreContext, run: Run) {
  return {
    createSandbox: sandbox => run(() => sandboxes.createSandbox(context, sandbox)),
    getSandbox: (workspace, name) => run(() => sandboxes.getSandbox(context, workspace, name)),
    getSandboxById: id => run(() => sandboxes.getSandboxById(context, id)),
    getFullSandbox: id => run(() => sandboxes.getFullSandbox(context, id)),
    listSandboxes: (workspace, labels, page) =>
      run(() => sandboxes.listSandboxes(context, { workspace, labels }, page)),
    updateSandbox: sandbox => run(() => sandboxes.updateSandbox(context, sandbox)),
    listProviderSandboxes: (providerId, page) =>
      run(() => attachments.listProviderSandboxes(context, providerId, page)),
    listProvidersBeside: providerId =>
      run(() => attachments.listProvidersBeside(context, providerId)),
    deleteSandbox: (workspace, name) =>
      run(() => sandboxes.deleteSandbox(context, workspace, name)),

    createWorkspace: workspace => run(() => workspaces.createWorkspace(context, workspace)),
    getWorkspace: name => run(() => workspaces.getWorkspace(context, name)),
    listWorkspaces: (labels, page) => run(() => workspaces.listWorkspaces(context, labels, page)),
    deleteWorkspace: name => run(() => workspaces.deleteWorkspace(context, name)),
    addWorkspaceMember: member => run(() => workspaces.addWorkspaceMember(context, member)),
    removeWorkspaceMember: (workspace, subject) =>
      run(() => workspaces.removeWorkspaceMember(context, workspace, subject)),
    listWorkspaceMembers: (workspace, page) =>
      run(() => workspaces.listWorkspaceMembers(context, workspace, page)),

    getGatewayConfig: () => run(() => config.getGatewayConfig(context)),
    saveGatewayConfig: record => run(() => config.saveGatewayConfig(context, record)),
  } satisfies Partial<Store>
}
