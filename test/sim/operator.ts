import type {
  DescMessage,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf'
import { AppError } from '../../src/core/errors.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import type { Command, Ledger } from './ledger.ts'
import { type Caller, callGateway } from './rpc-client.ts'
import type { Account } from './vendor-account.ts'

/** A command takes two tries of 10 s at a token endpoint at most, and the way there. */
const COMMAND_MS = 60_000

/** A provider as a person thinks of it. */
export class Plan {
  readonly workspace: string
  readonly name: string
  /** What it is made with when it does not stand. */
  next: Account
  readonly #ledger: Ledger

  constructor(place: Pick<Plan, 'workspace' | 'name'>, first: Account, ledger: Ledger) {
    this.workspace = place.workspace
    this.name = place.name
    this.next = first
    this.#ledger = ledger
  }

  /** The account that it uses. */
  get account(): Account {
    const standing = this.#ledger.named(this.workspace, this.name)
    return (standing && this.#ledger.accountOf(standing.record.id)) ?? this.next
  }
}

/** The person at the command line. What fails is noted, and left for the next try. */
export class Operator {
  readonly #caller: () => Caller
  readonly #ledger: Ledger

  /** `caller` chooses the gateway that is called, anew for each command. */
  constructor(caller: () => Caller, ledger: Ledger) {
    this.#caller = caller
    this.#ledger = ledger
  }

  async add(plan: Plan): Promise<boolean> {
    const { next: account, name, workspace } = plan
    const provider = {
      metadata: { name },
      type: account.kind === 'key' ? 'watsonx' : 'oauth2',
      credentials: materialOf(account),
      config: configOf(account),
    }
    const request = { provider, workspace }
    return this.#mint(
      `adds ${name}`,
      { kind: 'add', of: () => account },
      OpenShell.method.createProvider,
      request,
    )
  }

  /** Stores what the account takes now, or the given material. */
  async update(
    plan: Plan,
    content: {
      readonly credentials?: Readonly<Record<string, string>>
      readonly config?: Readonly<Record<string, string>>
      readonly noVerify?: boolean
    },
  ): Promise<boolean> {
    const { name, workspace } = plan
    const { credentials = {}, config = {}, noVerify = false } = content
    const request = { provider: { metadata: { name }, credentials, config }, workspace, noVerify }
    return this.#mint(
      `updates ${name}`,
      { kind: 'update', of: () => plan.account },
      OpenShell.method.updateProvider,
      request,
    )
  }

  async rotate(plan: Plan): Promise<boolean> {
    const request = { provider: plan.name, workspace: plan.workspace }
    const method = OpenShell.method.rotateProviderCredential
    return this.#mint(
      `rotates ${plan.name}`,
      { kind: 'rotate', of: () => plan.account },
      method,
      request,
    )
  }

  async remove({ name, workspace }: Plan): Promise<boolean> {
    return this.#run(`deletes ${name}`, OpenShell.method.deleteProvider, { name, workspace })
  }

  async disable({ name, workspace }: Plan): Promise<boolean> {
    const request = { provider: name, workspace }
    return this.#run(`disables ${name}`, OpenShell.method.deleteProviderRefresh, request)
  }

  async route({ name, workspace }: Plan, routeName: string): Promise<boolean> {
    const request = { providerName: name, modelId: 'model', routeName, workspace, noVerify: true }
    return this.#run(`routes to ${name}`, Inference.method.setInferenceRoute, request)
  }

  async unroute(workspace: string, routeName: string): Promise<boolean> {
    const request = { routeName, workspace }
    return this.#run(`unroutes ${workspace}`, Inference.method.deleteInferenceRoute, request)
  }

  /** Makes a sandbox; answers its id. */
  async sandbox(workspace: string, name: string): Promise<string | null> {
    const answer = await this.#call(`makes ${name}`, OpenShell.method.createSandbox, {
      name,
      workspace,
    })
    return answer?.sandbox?.metadata?.id ?? null
  }

  async removeSandbox(workspace: string, name: string): Promise<boolean> {
    return this.#run(`deletes ${name}`, OpenShell.method.deleteSandbox, { name, workspace })
  }

  /** How many routers the gateway counts in a workspace; null when it does not say. */
  async routersOf(workspace: string): Promise<number | null> {
    const method = OpenShell.method.getProviderRefreshStatus
    const answer = await this.#call(`looks at ${workspace}`, method, { workspace })
    return answer?.credentials[0]?.routers ?? null
  }

  /**
   * While a command is under way that may mint, its account may be asked at any time. What a person
   * brings is new, however often the vendor has refused it.
   */
  async #mint<I extends DescMessage, O extends DescMessage>(
    what: string,
    command: Command & { readonly of: () => Account },
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<boolean> {
    return this.#run(what, method, request, () => {
      const account = command.of()
      const { commands, refused } = this.#ledger.dealingsWith(account)
      commands.add(command)
      refused.clear()
      // Who orders a mint takes the risk that the refresh token is spent.
      if (command.kind === 'rotate') account.forgiveReplays()
      return () => commands.delete(command)
    })
  }

  async #run<I extends DescMessage, O extends DescMessage>(
    what: string,
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    onArrival: () => () => unknown = () => () => {},
  ): Promise<boolean> {
    return (await this.#call(what, method, request, onArrival)) !== null
  }

  async #call<I extends DescMessage, O extends DescMessage>(
    what: string,
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    onArrival: () => () => unknown = () => () => {},
  ): Promise<MessageShape<O> | null> {
    const { trace } = this.#ledger
    trace.note(`operator ${what}`)
    try {
      const options = { timeoutMs: COMMAND_MS, onArrival }
      const { message } = await callGateway(this.#caller(), method, request, options)
      trace.note(`operator ${what}: done`)
      return message
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      trace.note(`operator ${what}: ${error.code}`)
      if (error.code === 'internal') {
        this.#ledger.violate('nothing breaks inside', `${what}: ${error.message}`)
      }
      return null
    }
  }
}

/** The material that the account takes now. */
export function materialOf(account: Account): Readonly<Record<string, string>> {
  if (account.kind === 'family') return { OAUTH2_REFRESH_TOKEN: account.refreshToken }
  return account.kind === 'key'
    ? { IBM_CLOUD_API_KEY: account.secret }
    : { OAUTH2_CLIENT_SECRET: account.secret }
}

function configOf(account: Account): Readonly<Record<string, string>> {
  const api = `https://${account.apiHost}`
  if (account.kind === 'key') {
    return {
      WATSONX_URL: api,
      WATSONX_PROJECT_ID: 'project',
      WATSONX_MODEL_GATEWAY: 'true',
      WATSONX_AUTH: 'iam',
      IBM_IAM_URL: `https://${account.host}`,
    }
  }
  const config = {
    OAUTH2_TOKEN_URL: `https://${account.host}/token`,
    OAUTH2_CLIENT_ID: account.clientId,
    OAUTH2_BASE_URL: `${api}/v1`,
  }
  return account.kind === 'family' ? { ...config, OAUTH2_CLIENT_AUTH: 'none' } : config
}
