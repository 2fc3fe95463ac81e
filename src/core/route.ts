import type { RouteName } from './provider.ts'
import type { Secret } from './secret.ts'

/** What an agent's request speaks. The names are those of OpenShell's bundle. */
export type Protocol =
  | 'anthropic_messages'
  | 'anthropic_count_tokens'
  | 'openai_chat_completions'
  | 'openai_completions'
  | 'openai_responses'
  | 'openai_responses_compact'
  | 'openai_embeddings'
  | 'aws_bedrock_invoke'
  | 'aws_bedrock_invoke_stream'
  | 'aws_bedrock_converse'
  | 'aws_bedrock_converse_stream'
  | 'vertex_raw_predict'
  | 'vertex_stream_raw_predict'
  | 'vertex_count_tokens'
  | 'watsonx_chat'
  | 'watsonx_chat_stream'
  | 'watsonx_embeddings'
  | 'gemini_generate_content'
  | 'gemini_stream_generate_content'
  | 'gemini_count_tokens'
  | 'gemini_embed_content'
  | 'gemini_batch_embed_contents'
  | 'gemini_predict'
  | 'gemini_model_discovery'
  | 'model_discovery'

/** What becomes of the body's top-level `model`. `remove` also takes its comma. */
export type ModelEdit = 'replace' | 'remove' | 'keep'

/**
 * How the body's `anthropic_version` is set. A value already in the body is kept. Otherwise the
 * agent's `anthropic-version` header is looked up in `byHeader`; a header value that is not in the
 * table goes into the body as it is; without a header the body gets `fallback`.
 */
export interface VersionRule {
  readonly byHeader: ReadonlyMap<string, string>
  readonly fallback: string
}

/**
 * A member of the body that an upstream knows only together with a beta of Anthropic's, and refuses
 * without.
 */
export interface BetaMember {
  /** Names with dots between them, `[]` for the elements of a list: `system[].cache_control.scope`. */
  readonly path: string
  /** How the betas begin that bring it. */
  readonly betas: readonly string[]
}

/** What an upstream takes of Anthropic's betas, which agents name in the header `anthropic-beta`. */
export interface BetaRule {
  /** The values that pass; the others go, and with them their members. */
  readonly allow: readonly string[]
  /** Where they go: in the header, or as the list `anthropic_beta` in the body. */
  readonly carrier: 'header' | 'body'
  readonly members: readonly BetaMember[]
  /** Words of a 400, any of which means that values are refused; those it quotes, else all. */
  readonly refusals: readonly string[]
}

/** A member that an upstream wants and agents may leave out, in each object on the way to its path. */
export interface MemberDefault {
  /** As in a {@link BetaMember}. */
  readonly path: string
  readonly json: string
}

/**
 * How a protocol that the upstream does not speak is put into one that it does: the name of a
 * translator of the router, and what it is told. A translated body is parsed and written anew, unless
 * the translator has to do with answers alone.
 */
export interface Translation {
  readonly name: string
  readonly options: ReadonlyMap<string, string>
}

/** How one protocol is carried to the upstream. All of it is data; the router knows no vendor. */
export interface Operation {
  readonly protocol: Protocol
  /** As the route's, for an operation that stands elsewhere at the same host; '' means the route's. */
  readonly baseUrl: string
  /** Appended to the base URL; `{model}` stands for the percent-encoded model id. */
  readonly path: string
  /** Used instead of `path` when the body's top-level `stream` is true; '' means `path`. */
  readonly streamPath: string
  readonly model: ModelEdit
  readonly version: VersionRule | null
  /** Top-level body members that this upstream refuses; they and their commas go. */
  readonly removeMembers: readonly string[]
  /** Added deep in the body; one that is too large to be kept goes without. */
  readonly defaultMembers: readonly MemberDefault[]
  /** Query parameters of the agent that must not reach this upstream; `*` drops all. */
  readonly dropQuery: readonly string[]
  /** Query parameters that pass although `*` drops all. */
  readonly keepQuery: readonly string[]
  /** Whether the route's rule for Anthropic's betas holds here. */
  readonly hasBetas: boolean
  /**
   * Null where the upstream speaks the protocol. Where the body is translated, the edits above do not
   * apply.
   */
  readonly translation: Translation | null
}

/** How the credential goes with a request. */
export type RouteAuth =
  | {
      /** It is sent. */
      readonly kind: 'header'
      /** Header name in lower case. */
      readonly header: string
      /** What stands before the credential. */
      readonly prefix: string
    }
  | {
      /** It signs each request (AWS Signature Version 4) and is JSON: session keys of AWS. */
      readonly kind: 'sigv4'
      readonly service: string
      readonly region: string
    }

/**
 * An upstream answer that means "this token is dead": the status, when the first 64 KiB of the body
 * contain one of `when` (an empty list asks for nothing) and none of `unless`.
 */
export interface DeadTokenRule {
  readonly status: number
  readonly when: readonly string[]
  readonly unless: readonly string[]
}

/** A route without its credential: what a provider type says about a model. */
export interface RouteShape {
  /** Scheme, host and path prefix, without a trailing slash. */
  readonly baseUrl: string
  readonly modelId: string
  readonly operations: readonly Operation[]
  readonly auth: RouteAuth
  /**
   * Sent unless the agent sent that header and `allowHeaders` names it; `anthropic-beta`, which is a
   * list, also joins the agent's own. Lower-case names.
   */
  readonly defaultHeaders: ReadonlyMap<string, string>
  /** Agent headers that may pass besides the general ones. Lower-case names. */
  readonly allowHeaders: readonly string[]
  /** Null where the agent's betas are treated as any other header. */
  readonly betas: BetaRule | null
  readonly deadToken: readonly DeadTokenRule[]
}

/** All that the router needs to serve a request. */
export interface ResolvedRoute extends RouteShape {
  readonly name: RouteName
  readonly providerName: string
  /** Tells a provider from one that had its name before; '' when the gateway does not say. */
  readonly providerId: string
  readonly providerType: string
  readonly credential: Secret
  /** When the credential dies; null for a static key. */
  readonly expiresAtMs: number | null
  /** From here on requests wait a moment for a newer credential; null for a static key. */
  readonly mandatoryAtMs: number | null
  /** The token's generation; 0 for a static key, which is never refreshed. */
  readonly generation: number
  readonly timeoutMs: number
}
