/** A provider profile as people write it: the keys of OpenShell's YAML. */
export interface ProfileDocument {
  readonly id: string
  readonly display_name: string
  readonly description: string
  readonly category: string
  readonly inference_capable?: boolean
  readonly credentials?: readonly ProfileCredential[]
  /** Which credentials are looked for in a person's environment; absent for none. */
  readonly discovery?: { readonly credentials: readonly string[] }
  readonly endpoints?: readonly ProfileEndpoint[]
  /** Programs that may reach the endpoints. */
  readonly binaries?: readonly string[]
}

/** A credential of a profile. */
export interface ProfileCredential {
  readonly name: string
  readonly description: string
  readonly env_vars: readonly string[]
  readonly required?: boolean
  readonly auth_style?: string
  readonly header_name?: string
  readonly refresh?: ProfileRefresh
}

/** How a credential of a profile is refreshed. */
export interface ProfileRefresh {
  readonly strategy: string
  readonly token_url?: string
  readonly scopes?: readonly string[]
  readonly refresh_before_seconds: number
  readonly max_lifetime_seconds: number
  readonly material: readonly {
    readonly name: string
    readonly description: string
    readonly required?: boolean
    readonly secret?: boolean
  }[]
  readonly additional_outputs?: readonly {
    readonly output: string
    readonly credential: string
  }[]
}

/** A host that a profile opens. */
export interface ProfileEndpoint {
  readonly host: string
  readonly port: number
  readonly path?: string
  readonly protocol?: string
  readonly access?: string
  readonly enforcement?: string
  readonly credential_signing?: string
  readonly signing_service?: string
  readonly rules?: readonly { readonly allow: { readonly method: string; readonly path: string } }[]
}
