//! Which parameters a described model has, by name and shape, and how they are grouped into layers.

use crate::{ExpertsConfig, LoadError, ModelConfig, Norms, Projections};

/// Where parameters come from: a checkpoint and a backend, or a list of what would be needed.
pub(crate) trait Parameters {
    type Matrix;
    type Vector;

    /// One matrix from tensors that lie below each other, with these rows each.
    fn matrix(&self, names: &[String], rows: &[usize], columns: usize) -> Result<Self::Matrix, LoadError>;

    /// One vector from tensors that follow each other.
    fn vector(&self, names: &[String], lengths: &[usize]) -> Result<Self::Vector, LoadError>;

    /// A norm's factors.
    fn norm(&self, name: String, columns: usize) -> Result<Self::Vector, LoadError>;
}

/// All parameters of a model.
pub(crate) struct Stack<M, V> {
    pub(crate) embedding: M,
    pub(crate) layers: Vec<Layer<M, V>>,
    pub(crate) norm: V,
    /// None if the head is the embedding.
    pub(crate) head: Option<M>,
}

pub(crate) struct Layer<M, V> {
    pub(crate) attention_norm: V,
    /// Query, key and value read the same input, so they are one matrix.
    pub(crate) qkv: Linear<M, V>,
    pub(crate) head_norms: Option<HeadNorms<V>>,
    pub(crate) output: Linear<M, V>,
    pub(crate) attention_post_norm: Option<V>,
    pub(crate) feed_norm: V,
    pub(crate) feed: Feed<M, V>,
    pub(crate) feed_post_norm: Option<V>,
}

pub(crate) struct Linear<M, V> {
    pub(crate) weight: M,
    pub(crate) bias: Option<V>,
}

pub(crate) struct HeadNorms<V> {
    pub(crate) query: V,
    pub(crate) key: V,
}

pub(crate) enum Feed<M, V> {
    Dense {
        /// Gate, then up.
        gate_up: Linear<M, V>,
        down: Linear<M, V>,
    },
    Experts {
        router: M,
        gate_up: Vec<M>,
        down: Vec<M>,
    },
}

impl<M, V> Stack<M, V> {
    pub(crate) fn take<P>(from: &P, config: &ModelConfig) -> Result<Self, LoadError>
    where
        P: Parameters<Matrix = M, Vector = V>,
    {
        let whole = |name: &str| from.matrix(&[name.to_owned()], &[config.vocab], config.hidden);
        let layer = |index| Taker { from, config, index }.layer();
        Ok(Stack {
            embedding: whole("model.embed_tokens.weight")?,
            layers: (0..config.layers.len()).map(layer).collect::<Result<_, _>>()?,
            norm: from.norm("model.norm.weight".to_owned(), config.hidden)?,
            head: if config.tied_embeddings { None } else { Some(whole("lm_head.weight")?) },
        })
    }
}

/// Takes one layer.
struct Taker<'a, P> {
    from: &'a P,
    config: &'a ModelConfig,
    index: usize,
}

impl<P: Parameters> Taker<'_, P> {
    fn layer(&self) -> Result<Layer<P::Matrix, P::Vector>, LoadError> {
        let ModelConfig { hidden, heads, norms, .. } = *self.config;
        let norm = |part: &str| self.norm(part, hidden);
        let attention_norm = norm("input_layernorm")?;
        let qkv = self.qkv()?;
        let output = self.linear(&["self_attn.o_proj"], &[hidden], heads.query_columns(), self.config.output_bias)?;
        let (feed_norm, attention_post_norm, feed_post_norm) = match norms {
            Norms::Before => (norm("post_attention_layernorm")?, None, None),
            Norms::BeforeAndAfter => (
                norm("pre_feedforward_layernorm")?,
                Some(norm("post_attention_layernorm")?),
                Some(norm("post_feedforward_layernorm")?),
            ),
        };
        let head_norms = self.config.head_norms.then(|| {
            let (query, key) = (self.norm("self_attn.q_norm", heads.dim)?, self.norm("self_attn.k_norm", heads.dim)?);
            Ok::<_, LoadError>(HeadNorms { query, key })
        });
        Ok(Layer {
            attention_norm,
            qkv,
            head_norms: head_norms.transpose()?,
            output,
            attention_post_norm,
            feed_norm,
            feed: self.feed()?,
            feed_post_norm,
        })
    }

    fn qkv(&self) -> Result<Linear<P::Matrix, P::Vector>, LoadError> {
        let ModelConfig { hidden, heads, qkv_bias, projections, .. } = *self.config;
        let (query, kv) = (heads.query_columns(), heads.kv_columns());
        match projections {
            Projections::Apart => {
                let parts = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
                self.linear(&parts, &[query, kv, kv], hidden, qkv_bias)
            }
            Projections::Joined => self.linear(&["self_attn.qkv_proj"], &[heads.qkv_columns()], hidden, qkv_bias),
        }
    }

    fn feed(&self) -> Result<Feed<P::Matrix, P::Vector>, LoadError> {
        let ModelConfig { hidden, intermediate, mlp_bias, projections, .. } = *self.config;
        let experts = self.config.experts.as_ref().filter(|experts| !experts.dense_layers.contains(&self.index));
        if let Some(experts) = experts {
            return self.experts(experts);
        }
        let gate_up = match projections {
            Projections::Apart => {
                self.linear(&["mlp.gate_proj", "mlp.up_proj"], &[intermediate; 2], hidden, mlp_bias)?
            }
            Projections::Joined => self.linear(&["mlp.gate_up_proj"], &[2 * intermediate], hidden, mlp_bias)?,
        };
        Ok(Feed::Dense { gate_up, down: self.linear(&["mlp.down_proj"], &[hidden], intermediate, mlp_bias)? })
    }

    fn experts(&self, experts: &ExpertsConfig) -> Result<Feed<P::Matrix, P::Vector>, LoadError> {
        let (hidden, inner) = (self.config.hidden, experts.intermediate);
        let gate_up = |expert| {
            let names = ["gate", "up"].map(|part| self.name(&format!("mlp.experts.{expert}.{part}_proj.weight")));
            self.from.matrix(&names, &[inner; 2], hidden)
        };
        let down = |expert| {
            let name = self.name(&format!("mlp.experts.{expert}.down_proj.weight"));
            self.from.matrix(&[name], &[hidden], inner)
        };
        Ok(Feed::Experts {
            router: self.from.matrix(&[self.name("mlp.gate.weight")], &[experts.count], hidden)?,
            gate_up: (0..experts.count).map(gate_up).collect::<Result<_, _>>()?,
            down: (0..experts.count).map(down).collect::<Result<_, _>>()?,
        })
    }

    fn linear(
        &self,
        parts: &[&str],
        rows: &[usize],
        columns: usize,
        bias: bool,
    ) -> Result<Linear<P::Matrix, P::Vector>, LoadError> {
        let named =
            |suffix: &str| -> Vec<String> { parts.iter().map(|part| self.name(&format!("{part}.{suffix}"))).collect() };
        let weight = self.from.matrix(&named("weight"), rows, columns)?;
        let bias = bias.then(|| self.from.vector(&named("bias"), rows)).transpose()?;
        Ok(Linear { weight, bias })
    }

    fn norm(&self, part: &str, columns: usize) -> Result<P::Vector, LoadError> {
        self.from.norm(self.name(&format!("{part}.weight")), columns)
    }

    fn name(&self, part: &str) -> String {
        format!("model.layers.{}.{part}", self.index)
    }
}
