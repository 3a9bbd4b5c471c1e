/** Logging in from pi: for which region, to which program's file, and what follows. */
import { join } from "node:path";
import type { OAuthCredentials, OAuthLoginCallbacks } from "@mariozechner/pi-ai";
import type { Configuration } from "./configuration.ts";
import type { SharedCredential } from "./credentials/shared-credential.ts";
import type { CredentialStore } from "./credentials/store.ts";
import { login, type Verification } from "./login.ts";
import type { Catalogue } from "./models/catalogue.ts";
import type { ServerModel } from "./models/server-list.ts";
import type { Clock } from "./oauth/clock.ts";
import type { AuthorizationServer } from "./oauth/http.ts";
import type { Token } from "./oauth/token.ts";
import type { Region } from "./region.ts";
import { chooseRegion, regionQuestion } from "./region-choice.ts";
import { ownerName } from "./sentences.ts";
import type { Stores } from "./stores.ts";

export interface LoginsParts {
  readonly configuration: Configuration;
  readonly stores: Stores;
  readonly credential: Pick<SharedCredential, "saveLogin">;
  readonly catalogue: Catalogue;
  /** That of the region. */
  readonly server: (region: Region) => AuthorizationServer;
  readonly clock: Clock;
  /** Shows beside pi's own dialog what that leaves out; returns what takes it away. */
  readonly beside: (verification: Verification) => () => void;
  /** Offers the provider to pi again, with these models. */
  readonly offerModels: (models: readonly ServerModel[]) => void;
  readonly toCredentials: (token: Token, store: CredentialStore) => OAuthCredentials;
}

export function createLogins(parts: LoginsParts) {
  const { configuration, stores, credential, catalogue, server, clock, beside } = parts;
  const question = regionQuestion(configuration, join(configuration.kimiCodeHome, "region"));
  return {
    question,
    /** Throws as `login` and `chooseRegion` do. */
    async login(callbacks: OAuthLoginCallbacks): Promise<OAuthCredentials> {
      const region = await chooseRegion(question, callbacks);
      const store = stores.forLogin(region);
      const save = (token: Token) => credential.saveLogin(token, store);
      const { owner, path: savePath, rehearseSave } = store;
      const savedFor = ownerName(owner);
      const token = await login(
        { server: server(region), clock, save, rehearseSave, savePath, savedFor, beside },
        callbacks,
      );
      const offer = () => parts.offerModels(catalogue.registered());
      void catalogue.afterLogin(token.accessToken, store, offer);
      return parts.toCredentials(token, store);
    },
  };
}
