/** A process environment: names and values, all set. */
export type Environment = Readonly<Record<string, string>>

/**
 * What an agent gets in place of a key, because its libraries insist on one. The router strips it.
 */
export const PLACEHOLDER_KEY = 'openshell-placeholder'

/** Addresses that agents reach without the proxy. */
const NO_PROXY = '127.0.0.1,localhost,::1'

/** What the child's environment is made of, besides the parent's. */
export interface EnvironmentOptions {
  readonly sandboxName: string
  /** For example `http://127.0.0.1:41234`. */
  readonly proxyUrl: string
  /** The certificate of this run's authority, alone. */
  readonly caFile: string
  /** The machine's roots and this run's authority. */
  readonly caBundleFile: string
  /** Credential names of the gateway's provider types, for example `GOOGLE_SERVICE_ACCOUNT_JSON`. */
  readonly credentialNames: readonly string[]
}

/** Vendors' credentials and this product's own, by the shape of their names. */
const SECRET_NAMES: readonly RegExp[] = [
  /^(ANTHROPIC|CLAUDE)_.*(KEY|TOKEN)/,
  /^OPENAI_.*(KEY|TOKEN)/,
  /^(GOOGLE|GEMINI|VERTEX)_.*(KEY|TOKEN|SECRET|CREDENTIAL|SERVICE_ACCOUNT)/,
  /^AZURE_.*(SECRET|CERTIFICATE|KEY|TOKEN|PASSWORD)/,
  /^AWS_.*(KEY|TOKEN|CREDENTIAL)/,
  /^(IBM|WATSONX)_.*(KEY|TOKEN|PASSWORD)/,
  /^OPENSHELL_.*(TOKEN|KEY|SECRET|PASSWORD|STORE)/,
]

/** Proxies that would lead past the router, and switches that make an agent call a vendor itself. */
const DIVERSIONS: ReadonlySet<string> = new Set([
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'ALL_PROXY',
  'NO_PROXY',
  'CLAUDE_CODE_USE_VERTEX',
  'CLAUDE_CODE_USE_BEDROCK',
  'GOOGLE_GENAI_USE_VERTEXAI',
  'GOOGLE_GENAI_USE_ENTERPRISE',
  'GOOGLE_GENAI_USE_GCA',
])

/**
 * The environment of a program that runs in the sandbox: the parent's without any vendor credential,
 * without secrets of ours and old proxy settings, and with what leads its requests to the router.
 */
export function sandboxEnvironment(
  parent: Readonly<Record<string, string | undefined>>,
  options: EnvironmentOptions,
): Environment {
  const secrets = new Set(options.credentialNames.map(name => name.toUpperCase()))
  const kept = Object.entries(parent).flatMap(([name, value]) => {
    const upper = name.toUpperCase()
    const isRemoved = secrets.has(upper) || DIVERSIONS.has(upper) || isSecretName(upper)
    return value === undefined || isRemoved ? [] : [[name, value] as const]
  })
  return {
    ...Object.fromEntries(kept),
    ...proxySettings(options.proxyUrl),
    ...trustSettings(options),
    ANTHROPIC_BASE_URL: 'https://inference.local',
    ANTHROPIC_API_KEY: PLACEHOLDER_KEY,
    OPENAI_BASE_URL: 'https://inference.local/v1',
    OPENAI_API_KEY: PLACEHOLDER_KEY,
    GOOGLE_GEMINI_BASE_URL: 'https://inference.local',
    GEMINI_API_KEY: PLACEHOLDER_KEY,
    OPENSHELL_SANDBOX: options.sandboxName,
  }
}

function isSecretName(upper: string): boolean {
  return SECRET_NAMES.some(pattern => pattern.test(upper))
}

function proxySettings(proxyUrl: string): Environment {
  return {
    HTTP_PROXY: proxyUrl,
    HTTPS_PROXY: proxyUrl,
    NO_PROXY,
    http_proxy: proxyUrl,
    https_proxy: proxyUrl,
    no_proxy: NO_PROXY,
    // Node 24 and later heed the variables above only when told so.
    NODE_USE_ENV_PROXY: '1',
  }
}

/** Variables that add to the system's roots get our certificate; those that replace them, all. */
function trustSettings({ caFile, caBundleFile }: EnvironmentOptions): Environment {
  return {
    NODE_EXTRA_CA_CERTS: caFile,
    DENO_CERT: caFile,
    SSL_CERT_FILE: caBundleFile,
    REQUESTS_CA_BUNDLE: caBundleFile,
    CURL_CA_BUNDLE: caBundleFile,
    GIT_SSL_CAINFO: caBundleFile,
    CODEX_CA_CERTIFICATE: caBundleFile,
  }
}
