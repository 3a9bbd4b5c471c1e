/** The service's list of models: `GET /models`. */
import { type Api, type GetFailure, getJson } from "../api-get.ts";
import { parseServerList, type ServerModel } from "./server-list.ts";

export type ModelsAnswer =
  /** At least one model. */
  { readonly state: "listed"; readonly models: readonly ServerModel[] } | GetFailure;

const LARGEST_ANSWER = 1024 * 1024;

/** An empty list is unusable. Never throws. `signal` may end it at any time: nothing is lost but the answer. */
export async function fetchModels(api: Api, accessToken: string, signal: AbortSignal): Promise<ModelsAnswer> {
  const answer = await getJson(api, "/models", accessToken, LARGEST_ANSWER, signal);
  if (answer.state !== "answered") return answer;
  const models = parseServerList(answer.value);
  return models.length > 0 ? { state: "listed", models } : { state: "unusable" };
}
