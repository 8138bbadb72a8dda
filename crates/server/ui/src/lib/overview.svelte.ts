import { get } from './api';
import { Resource } from './resource.svelte';
import type { Overview } from './types';

/** What the frame and several pages say of the whole. */
export const overview = new Resource<Overview>((signal) => get<Overview>('/overview', {}, signal));
